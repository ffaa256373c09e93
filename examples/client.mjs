// A client of protocol v2, without packages. It joins a tenant, keeps its picture, and resumes after a lost connection.
//
//     node examples/client.mjs ws://localhost:8000/tenants/acme laptop
// It prints each message of the service as a line of JSON. On standard error it says why a connection has ended.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import http from "node:http";
import https from "node:https";

const [url, name, publicKey = newKey()] = process.argv.slice(2);
const V2 = "wg-orchestrator.v2", TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;
const SILENCE = 30_000; // Milliseconds: the service pings every ten seconds.
const FINAL = [1002, 1003, 1007, 1008, 1009]; // So are all codes from 4500 on.
const picture = { peers: new Map() }; // The other peers by public key; the revision; the session; its own address.
let attempts = 0, stop = () => process.exit();

function newKey() {
  const { x } = generateKeyPairSync("x25519").publicKey.export({ format: "jwk" });
  return Buffer.from(x, "base64url").toString("base64");
}

function apply({ type, revision, peer, peers, ...message }) {
  if (type === "welcome") picture.peers = new Map(peers.map((other) => [other.public_key, other]));
  if (type === "welcome" || type === "resumed") Object.assign(picture, message);
  if (type === "joined" || type === "updated") picture.peers.set(peer.public_key, peer);
  if (type === "left") picture.peers.delete(message.public_key);
  picture.revision = revision ?? picture.revision; // A message of an unknown type has none, and changes nothing.
}

function join() {
  const { session, revision, virtual_ip } = picture, resume = session ? { session, revision } : undefined;
  return JSON.stringify({ type: "join", display_name: name, public_key: publicKey, virtual_ip, resume });
}

// RFC 6455, section 5.2: a client masks its frames, the service does not. Each message of the service is one frame.
function frame(opcode, payload) {
  const { length } = payload, mask = randomBytes(4);
  const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size]), mask, payload.map((byte, at) => byte ^ mask[at % 4])]);
}

function eachFrame(data, hear) { // Returns the rest: the beginning of the next frame.
  while (data.length >= 2) {
    const short = data[1] & 127, start = { 126: 4, 127: 10 }[short] ?? 2;
    if (data.length < start) break;
    const length = start === 2 ? short : start === 4 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
    if (data.length < start + length) break;
    hear(data[0] & 15, data.subarray(start, start + length));
    data = data.subarray(start + length);
  }
  return data;
}

const end = (cause) => (console.error(cause), process.exit(1));

function retry(cause, seconds = Math.random() * Math.min(2 ** attempts++, 30)) {
  console.error(`${cause}; trying again in ${seconds.toFixed(1)} s`);
  setTimeout(connect, seconds * 1000);
}

function live(socket, early) {
  let rest = Buffer.alloc(0), cause = "connection lost";
  const hear = (data) => {
    rest = eachFrame(Buffer.concat([rest, data]), (opcode, payload) => {
      if (opcode === PING) socket.write(frame(PONG, payload));
      if (opcode === CLOSE) {
        const code = payload.length ? payload.readUInt16BE(0) : 1005;
        cause = `${payload.subarray(2)} (${code})`;
        if (code >= 4500 || FINAL.includes(code)) end(cause);
        socket.end(frame(CLOSE, payload.subarray(0, 2)));
      } else if (opcode === TEXT) {
        apply(JSON.parse(payload));
        console.log(JSON.stringify({ ...JSON.parse(payload), session: undefined })); // Which is a secret.
        attempts = 0;
      }
    });
  };
  stop = () => socket.end(frame(CLOSE, Buffer.from([0x03, 0xe8])), () => process.exit());
  socket.setTimeout(SILENCE, () => socket.destroy()).on("data", hear).on("error", () => {});
  socket.on("close", () => retry(cause));
  socket.write(frame(TEXT, Buffer.from(join())));
  hear(early);
}

function connect() {
  const headers = {
    Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": 13,
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"), "Sec-WebSocket-Protocol": V2,
  };
  const request = (url.startsWith("wss:") ? https : http).get(url.replace(/^ws/, "http"), { headers });
  request.on("error", (error) => retry(error.message)).on("upgrade", ({ headers }, socket, early) =>
    headers["sec-websocket-protocol"] === V2 ? live(socket, early) : end("the service does not speak v2"));
  request.on("response", ({ statusCode, headers: { "retry-after": after } }) => {
    if (statusCode < 500 && statusCode !== 429) end(`HTTP ${statusCode}`);
    retry(`HTTP ${statusCode}`, after && Number(after));
  });
}

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stop());
connect();
