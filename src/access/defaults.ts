// The relations that a genesis ships (contract.md, "Defaults"); the authority changes them with `relations.set`.

import type { RelationRow, Relations } from '../model/operations.ts'

const row = (key: string, values: string): RelationRow => ({ key, values: values.split(' ') })

export const DEFAULT_RELATIONS: Relations = {
  rolePurposes: [
    row('attending', 'TREAT CAREMGT PATSFTY'),
    row('resident', 'TREAT'),
    row('nurse', 'TREAT'),
    row('pharmacist', 'TREAT'),
    row('emergency', 'TREAT ETREAT BTG'),
    row('clerk', 'HPAYMT PATADMIN'),
    row('researcher', 'HRESCH'),
    row('public-health', 'PUBHLTH POPHLTH'),
    row('quality', 'HOPERAT'),
    row('patient', 'PATRQT'),
    row('guardian', 'PATRQT'),
  ],
  rolePermissions: [
    row('attending', 'read share'),
    row('resident', 'read'),
    row('nurse', 'read'),
    row('pharmacist', 'read'),
    row('emergency', 'read'),
    row('clerk', 'read'),
    row('researcher', 'read'),
    row('public-health', 'read share'),
    row('quality', 'read'),
    row('patient', 'read share'),
    row('guardian', 'read share'),
  ],
  purposePermissions: [
    row('TREAT', 'read share'),
    row('PUBHLTH', 'read share'),
    row('PATRQT', 'read share'),
    row('HPAYMT', 'read'),
    row('HOPERAT', 'read'),
    row('HRESCH', 'read'),
    row('HMARKT', 'read'),
    row('BTG', 'read'),
  ],
}
