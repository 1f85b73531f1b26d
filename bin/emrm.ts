#!/usr/bin/env node
// The executable: checks the Node version, calls main, sets the exit code. Nothing else is imported before the check, because on an older
// Node the libraries fail in ways that nobody understands.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 15)) {
  process.stderr.write(
    `error node-too-old: this is Node ${process.versions.node}, EMRM needs 24.15 or newer; run it as "npx emrm", which brings its own, or upgrade Node\n`,
  )
  process.exit(1)
}

// `emrm … | head` closes our stdout early: that is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

// Node 24 calls the post-quantum algorithms that we use experimental, once for each name; nobody at a terminal can do anything about it.
process.removeAllListeners('warning')
process.on('warning', warning => {
  if (warning.name !== 'ExperimentalWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`)
})

/** The first signal asks for a clean stop, the second does not wait for it. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => (stop.signal.aborted ? process.exit(1) : stop.abort()))
  return stop.signal
}

const { main } = await import('../src/cli/main.ts')
process.exitCode = await main(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stopSignal,
})
// Libraries keep timers for about a second after a clean stop; nothing that is left may hold the process for longer.
setTimeout(() => process.exit(), 3000).unref()
