// Plain WebSocket clients, each from an address of its own, that connect again when they are cut off. Commands and
// answers as in socketio_clients.js.
//   node ws_clients.js URL COUNT
const readline = require('readline');
const WebSocket = require('ws');

const [url, count] = process.argv.slice(2);

function lost(state, why) {
  state.errors[why] = (state.errors[why] ?? 0) + 1;
}

function connect(state) {
  const socket = new WebSocket(url, { localAddress: state.localAddress });
  state.socket = socket;
  socket.on('error', (error) => lost(state, error.message));
  socket.on('close', (code) => {
    Object.assign(state, { slot: null, pid: null });
    state.answer?.(null);
    if (code !== 1005) lost(state, `closed ${code}`);
    setTimeout(connect, 100, state);
  });
  socket.on('message', (message) => {
    const [slot, pid, text] = `${message}`.split(' ');
    if (text !== undefined) return state.answer?.(text);
    state.connects += 1;
    Object.assign(state, { slot: Number(slot), pid: Number(pid) });
  });
  return state;
}

const clients = Array.from({ length: Number(count) }, (_, number) => connect({
  localAddress: `127.200.${1 + (number >> 7)}.${1 + (number & 127)}`,
  slot: null, pid: null, connects: 0, said: null, errors: {},
}));
const report = () => clients.map(({ socket, slot, pid, connects, said, errors }) => ({
  connected: slot !== null && socket.readyState === WebSocket.OPEN,
  transport: 'websocket', slot, pid, connects, said, errors,
}));

async function until(done, limit) {
  const end = Date.now() + limit;
  while (!done() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
}

const commands = {
  settle: (limit, ...former) => until(
    () => clients.every(({ slot, pid }) => slot !== null && !former.includes(`${pid}`)), Number(limit)),
  say: () => Promise.all(clients.map((one, number) => new Promise((resolve) => {
    one.answer = (text) => { one.said = text === `${number}`; resolve(); };
    one.socket.send(`${number}`, (error) => error && one.answer(null));
  }))),
  again: () => Promise.all(clients.map((one) => new Promise((resolve) => {
    one.socket.once('close', resolve).close();
  }))),
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...rest] = line.split(' ');
    await commands[word](...rest);
    console.log(JSON.stringify(report()));
  }
  process.exit(0);
})();
