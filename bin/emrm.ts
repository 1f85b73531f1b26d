#!/usr/bin/env node
// The executable: checks the Node version, calls main, sets the exit code. Nothing else is loaded before the check, because on an older
// Node the libraries fail in ways that nobody understands. For the same reason this file is plain CommonJS without a type in it
// (bin/package.json): an old Node, which cannot read TypeScript, still gets as far as the message.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 15)) {
  process.stderr.write(
    `error node-too-old: this is Node ${process.versions.node} and EMRM needs 24.15 or newer; run "npx emrm …" or "node_modules/.bin/node bin/emrm.ts …" (npm ci brings a Node of its own), or upgrade Node\n`,
  )
  process.exit(1)
}

/**
 * Compiled code is kept for the next run, which then starts in half the time. Whoever may write there decides what runs: so only in the
 * user's own folder, and not when it is open to others.
 */
function keepCompiledCode() {
  const { existsSync, mkdirSync, statSync } = require('node:fs')
  const { enableCompileCache } = require('node:module')
  const { XDG_CACHE_HOME, HOME } = process.env
  const caches = XDG_CACHE_HOME || (HOME && `${HOME}/.cache`)
  if (!caches) return
  const folder = `${caches}/emrm`
  try {
    for (const each of [caches, folder]) if (!existsSync(each)) mkdirSync(each, { mode: 0o700 })
    const { uid, mode } = statSync(folder)
    if (uid === process.getuid?.() && (mode & 0o022) === 0) enableCompileCache(folder)
  } catch {
    // It starts more slowly.
  }
}
keepCompiledCode()

// `emrm … | head` closes our stdout early: that is not an error, unless a record was on its way there and not all of it arrived.
const isRecordOnStdout = process.argv.some(
  (word, i, words) => word === '--out=-' || (word === '--out' && words[i + 1] === '-'),
)
process.stdout.on('error', error =>
  process.exit('code' in error && error.code === 'EPIPE' && !isRecordOnStdout ? 0 : 1),
)

// Node 24 calls the post-quantum algorithms that we use experimental, once for each name; nobody at a terminal can do anything about it.
process.removeAllListeners('warning')
process.on('warning', warning => {
  if (warning.name !== 'ExperimentalWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`)
})

/** The first signal asks for a clean stop, the second does not wait for it. */
function stopSignal() {
  const stop = new AbortController()
  const onSignal = () => (stop.signal.aborted ? process.exit(1) : stop.abort())
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal)
  return stop.signal
}

async function run() {
  const { main } = await import('../src/cli/main.ts')
  const { env, stdin, stdout, stderr } = process
  process.exitCode = await main(process.argv.slice(2), { env, stdin, stdout, stderr, stopSignal })
  // Libraries keep timers for about a second after a clean stop; nothing that is left may hold the process for longer.
  setTimeout(() => process.exit(), 3000).unref()
}

run().catch(error => {
  process.stderr.write(`error internal-error: EMRM could not be loaded (${error}); run npm ci, then report it\n`)
  process.exit(1)
})
