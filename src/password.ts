// Where the password of encrypted keys comes from: EMRM_PASSWORD, a file named by EMRM_PASSWORD_FILE, or a prompt on a terminal without
// echo. Never an argument: arguments stand in the process list and in the shell's history.

import { EmrmError } from './model/errors.ts'
import { readTextFile } from './shape.ts'

/** Shorter ones are refused when a key is made; argon2id cannot save "1234". */
export const PASSWORD_LENGTH_MIN = 8

export type PasswordSource = {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: NodeJS.ReadStream
  readonly stderr: { write(text: string): unknown }
}

/** `what` names the key in the prompt; `confirm` asks twice. Throws EmrmError `password-missing`, `password-too-short`, `password-mismatch`. */
export async function readPassword(
  source: PasswordSource,
  options: { readonly what: string; readonly isNew: boolean },
): Promise<string> {
  const password = await findPassword(source, options)
  if (options.isNew && password.length < PASSWORD_LENGTH_MIN)
    throw new EmrmError(
      'password-too-short',
      `the password has fewer than ${PASSWORD_LENGTH_MIN} characters; choose a longer one`,
      { lengthMin: PASSWORD_LENGTH_MIN },
    )
  return password
}

async function findPassword(
  source: PasswordSource,
  { what, isNew }: { readonly what: string; readonly isNew: boolean },
): Promise<string> {
  const direct = source.env['EMRM_PASSWORD']
  if (direct !== undefined && direct !== '') return direct
  const file = source.env['EMRM_PASSWORD_FILE']
  if (file !== undefined && file !== '') {
    const [line] = (await readTextFile(file)).split(/\r?\n/)
    if (line) return line
    throw missing(`${file} (EMRM_PASSWORD_FILE) is empty`)
  }
  if (source.stdin.isTTY !== true) throw missing('no terminal to ask on')
  const first = await prompt(source, `Password for ${what}: `)
  if (first === '') throw missing('none was typed')
  if (isNew && (await prompt(source, 'Again: ')) !== first)
    throw new EmrmError('password-mismatch', 'the two passwords differ; run the command again')
  return first
}

const missing = (why: string): EmrmError =>
  new EmrmError('password-missing', `no password: ${why}; set EMRM_PASSWORD_FILE (or EMRM_PASSWORD) and try again`)

/** Reads one line in raw mode: nothing that is typed appears on the screen. */
async function prompt({ stdin, stderr }: PasswordSource, text: string): Promise<string> {
  stderr.write(text)
  stdin.setRawMode(true)
  stdin.resume()
  try {
    return await new Promise<string>((resolve, reject) => {
      let line = ''
      const onData = (chunk: Buffer): void => {
        for (const character of chunk.toString('utf8')) {
          if (character === '\r' || character === '\n') return finish(() => resolve(line))
          if (character === '\u0003' || character === '\u0004')
            return finish(() => reject(missing('the prompt was cancelled')))
          line = character === '\u007f' || character === '\b' ? line.slice(0, -1) : line + character
        }
      }
      const finish = (settle: () => void): void => {
        stdin.off('data', onData)
        settle()
      }
      stdin.on('data', onData)
    })
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}
