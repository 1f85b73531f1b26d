// Asks the peer every two seconds and writes what it says as text; nothing of it is ever read as HTML. In English or Chinese (words.js).

import { languageOf, WORDS } from './words.js'

const byId = id => document.getElementById(id)
const language = () => languageOf(location.hash, navigator.language)
const say = key => WORDS[key][language()]

let last = null

function cell(tag, text) {
  const element = document.createElement(tag)
  element.textContent = String(text)
  return element
}

function row(...texts) {
  const element = document.createElement('tr')
  element.append(...texts.map(text => cell('td', text)))
  return element
}

/** The words that stand in the page itself: each carries its key. */
function translate() {
  document.documentElement.lang = language() === 1 ? 'zh' : 'en'
  for (const element of document.querySelectorAll('[data-word]')) element.textContent = say(element.dataset.word)
  byId('language').href = language() === 1 ? '#en' : '#zh'
  if (last !== null) show(last)
}

function show(view) {
  last = view
  document.title = `${view.institution}: ${say('height')} ${view.height}`
  byId('title').textContent = `${view.institution} ${say('inNetwork')} ${view.network}`
  byId('state').className = ''
  byId('state').textContent = `${view.role in WORDS ? say(view.role) : view.role}, ${say('height')} ${view.height}`
  const facts = [
    ['head', view.head],
    ['stateDigest', view.stateDigest],
    ['view', view.view],
    ['currentPrimary', view.primary ?? say('notKnown')],
    ['waiting', `${view.mempool.requests} ${say('requests')}, ${view.mempool.bytes} ${say('bytes')}`],
    ['chain', view.chainId],
    ['version', view.version],
  ]
  byId('facts').replaceChildren(...facts.flatMap(([key, value]) => [cell('dt', say(key)), cell('dd', value)]))
  byId('peers').replaceChildren(
    ...view.peers.map(peer =>
      row(peer.name, say(peer.direct ? 'direct' : 'gossip'), say(peer.direction === 'inbound' ? 'them' : 'us')),
    ),
  )
  byId('blocks').replaceChildren(
    ...view.blocks.map(block => {
      const kinds = Object.entries(block.kinds).map(([kind, count]) => `${kind} × ${count}`)
      return row(block.height, new Date(block.time).toISOString(), kinds.join(', ') || say('none'), block.path, block.id)
    }),
  )
}

async function look() {
  try {
    const answer = await fetch('/view.json', { cache: 'no-store' })
    if (!answer.ok) throw new Error(answer.statusText)
    show(await answer.json())
  } catch {
    last = null
    byId('state').className = 'bad'
    byId('state').textContent = say('silent')
  }
  setTimeout(look, 2000)
}

addEventListener('hashchange', translate)
translate()
look()
