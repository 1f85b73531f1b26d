// Stands for the engine's thread: answers, and hangs, throws or ends when it is told to.

import { parentPort } from 'node:worker_threads'

parentPort?.postMessage({ type: 'loaded', rules: 0 })
parentPort?.on('message', ({ id, question }: { id: number; question: { say?: string; fault?: string } }) => {
  if (question.fault === 'throw') throw new Error('trap')
  if (question.fault === 'exit') process.exit(1)
  while (question.fault === 'hang');
  parentPort?.postMessage({ type: 'answer', id, answer: question.say })
})
