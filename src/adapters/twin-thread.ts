// The thread in which one twin is made: a large record must not keep the peer from its consensus, and a record made to exhaust memory
// ends this thread alone. One record, one answer, and the thread is over.

import { parentPort, workerData } from 'node:worker_threads'
import { EmrmError } from '../model/errors.ts'
import { deidentifyDicom } from '../records/deidentify/dicom.ts'
import { deidentifyFhir } from '../records/deidentify/fhir.ts'
import { standardRules } from '../records/deidentify/rules.ts'
import type { MakeTwin } from '../records/twin.ts'

type Question = Parameters<MakeTwin>[0]

const port = parentPort
if (port !== null)
  try {
    const question = workerData as Question
    const { bytes, ruleDigest } =
      question.kind === 'dicom' ? deidentifyDicom(question) : deidentifyFhir({ ...question, rules: standardRules() })
    port.postMessage({ type: 'made', bytes, ruleDigest })
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    port.postMessage({ type: 'refused', code: error.code, message: error.message, facts: error.facts })
  }
