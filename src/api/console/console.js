// Asks the peer every two seconds and writes what it says as text; nothing of it is ever read as HTML.

const byId = id => document.getElementById(id)

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

function show(view) {
  document.title = `${view.institution}: height ${view.height}`
  byId('title').textContent = `${view.institution} in ${view.network}`
  byId('state').className = ''
  byId('state').textContent = `${view.role}, height ${view.height}`
  const facts = {
    Head: view.head,
    'State digest': view.stateDigest,
    View: view.view,
    Primary: view.primary ?? 'not known',
    Waiting: `${view.mempool.requests} requests, ${view.mempool.bytes} bytes`,
    Chain: view.chainId,
    Version: view.version,
  }
  byId('facts').replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [cell('dt', name), cell('dd', value)]))
  byId('peers').replaceChildren(
    ...view.peers.map(peer => row(peer.name, peer.direct ? 'direct' : 'gossip', peer.direction === 'inbound' ? 'them' : 'us')),
  )
  byId('blocks').replaceChildren(
    ...view.blocks.map(block => {
      const kinds = Object.entries(block.kinds).map(([kind, count]) => `${kind} × ${count}`)
      return row(block.height, new Date(block.time).toISOString(), kinds.join(', ') || 'none', block.path, block.id)
    }),
  )
}

async function look() {
  try {
    const answer = await fetch('/view.json', { cache: 'no-store' })
    if (!answer.ok) throw new Error(answer.statusText)
    show(await answer.json())
  } catch {
    byId('state').className = 'bad'
    byId('state').textContent = 'The peer does not answer.'
  }
  setTimeout(look, 2000)
}

look()
