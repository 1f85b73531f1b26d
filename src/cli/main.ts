// The command line: builds the commands, parses, runs, answers with an exit code. Each command group is a file beside this one.
// Not here: any logic (config, network-setup, api, client do the work).

import { Command, CommanderError } from 'commander'

import { EmrmError } from '../model/errors.ts'
import { VERSION } from '../version.ts'
import { addAccessCommands } from './access.ts'
import { addAuditCommands } from './audit.ts'
import { addDelegateCommands } from './delegates.ts'
import { addDemoCommand } from './demo.ts'
import { addNetworkCommands } from './network.ts'
import { addOperationsCommands } from './operations.ts'
import { addPeerCommands, addScrubCommand } from './peer.ts'
import { addPolicyCommands } from './policies.ts'
import { addRecordCommands } from './records.ts'
import { EXIT, type ExitCode, type Io, printError, type Session } from './session.ts'
import { addStartCommand } from './start.ts'
import { addUserCommands } from './users.ts'

/** `argv` without the executable and the script. Never throws for what the user did; resolves to the exit code. */
export async function main(argv: readonly string[], io: Io): Promise<ExitCode> {
  const json = argv.includes('--json')
  const session: Session = { io, json, exitCode: EXIT.done, answersTo: 'stdout' }
  const program = makeProgram(session)
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) printError(session, error)
    // Help and version that were asked for are answers.
    else if (error.exitCode !== 0) printError(session, usageError(error), EXIT.usage)
  }
  return session.exitCode
}

function makeProgram(session: Session): Command {
  const program = new Command('emrm')
    .description("A peer-to-peer node that lets hospitals share medical records under each patient's own policy.")
    .version(VERSION, '--version', 'print the version')
    .option('--json', 'print exactly one JSON document on stdout')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: text => session.io.stdout.write(text),
      // Commander's own error lines are said by printError, in our form.
      writeErr: () => {},
      outputError: () => {},
    })
    .exitOverride()
    .showSuggestionAfterError(true)
  program.addHelpText(
    'after',
    '\nExample:\n  $ emrm demo\n  $ EMRM_PASSWORD_FILE=./password emrm network create --dir ./net --name pilot --hospitals 4',
  )
  addDemoCommand(session, program, main)
  addNetworkCommands(session, program)
  addStartCommand(session, program)
  addPeerCommands(session, program)
  addScrubCommand(session, program)
  addUserCommands(session, program)
  addRecordCommands(session, program)
  addPolicyCommands(session, program)
  addDelegateCommands(session, program)
  addAccessCommands(session, program)
  addAuditCommands(session, program)
  addOperationsCommands(session, program)
  return program
}

/** Commander says `error: unknown option '--x'`; we say `error usage: unknown option '--x'; …`. */
function usageError(error: CommanderError): EmrmError {
  if (error.code === 'commander.help') return new EmrmError('usage', 'a command is missing; emrm --help lists them')
  const what = error.message
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '')
  return new EmrmError('usage', `${what}; add --help to see what the command takes`)
}
