// What the console page says, in English and in Chinese. Each entry is [English, Chinese]; the page shows one of them.

export const WORDS = {
  title: ['EMRM peer', 'EMRM 节点'],
  loading: ['Loading …', '正在读取…'],
  silent: ['The peer does not answer.', '节点没有应答。'],
  inNetwork: ['in', '所属网络'],
  height: ['height', '区块高度'],
  primary: ['primary', '主节点'],
  validator: ['validator', '验证节点'],
  observer: ['observer', '观察节点'],
  head: ['Head', '最新区块'],
  stateDigest: ['State digest', '状态摘要'],
  view: ['View', '视图'],
  currentPrimary: ['Primary', '当前主节点'],
  notKnown: ['not known', '未知'],
  waiting: ['Waiting', '等待中'],
  requests: ['requests', '个请求'],
  bytes: ['bytes', '字节'],
  chain: ['Chain', '链标识'],
  version: ['Version', '版本'],
  connections: ['Connections', '连接'],
  hospital: ['Hospital', '医院'],
  link: ['Link', '通道'],
  direct: ['direct', '直连'],
  gossip: ['gossip', '广播'],
  dialledBy: ['Dialled by', '发起方'],
  them: ['them', '对方'],
  us: ['us', '本方'],
  lastBlocks: ['Last blocks', '最近区块'],
  blockHeight: ['Height', '高度'],
  time: ['Time', '时间'],
  requestKinds: ['Requests', '请求'],
  none: ['none', '无'],
  decided: ['Decided', '共识路径'],
  id: ['Id', '标识'],
  other: ['中文', 'English'],
}

/** 0 for English, 1 for Chinese: what the address asks for (#zh, #en), else the browser's language. */
export const languageOf = (hash, browserLanguage) => {
  if (hash === '#zh') return 1
  if (hash === '#en') return 0
  return browserLanguage.toLowerCase().startsWith('zh') ? 1 : 0
}
