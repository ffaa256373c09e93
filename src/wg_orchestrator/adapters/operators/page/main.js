// The live page of the operators: what the API says, as it changes.

import { Api, Refused } from "./api.js";
import { askToken, element, note, PeerDialog, question } from "./dialogs.js";
import { setUpInviting } from "./inviting.js";
import { Log } from "./log.js";
import { Picture } from "./picture.js";
import { Roster } from "./roster.js";
import { Table } from "./table.js";
import { Tenants } from "./tenants.js";
import { convergence, visible } from "./text.js";

const PAGE = 500;
const TICK = 2000; // Milliseconds from one question to the next: what the events do not say is asked for, a page at a time.
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

const api = new Api(askToken);
const log = new Log(element("events"));
const dialog = new PeerDialog(api, { kick, revoke });
const open = (peer) => dialog.show(chosen, peer);
const table = new Table(element("table"), element("columns"), element("rows"), open, (column) => {
  roster.sort(column);
  element("table").scrollTop = 0;
  draw();
});
const picture = new Picture(element("canvas"), element("picture-note"), open);
const tenants = new Tenants(api, element("tenants"), element("tenant-search"), element("no-tenants"), choose);
setUpInviting(api, () => chosen);

let chosen = null;
let roster = new Roster();
let lastId = null;
let stream = new AbortController();
let isListed = false; // Whether the roster is whole.
let isDrawn = true;

function choose(tenant) {
  if (tenant === chosen) return;
  chosen = tenants.chosen = tenant;
  if (decodeURIComponent(location.hash.slice(1)) !== (tenant ?? "")) location.hash = encodeURIComponent(tenant ?? "");
  roster = table.roster = picture.roster = new Roster();
  picture.paths = new Map();
  element("peer-search").value = "";
  element("tenant").hidden = tenant === null;
  element("tenant-name").textContent = tenant ?? "Choose a tenant";
  element("convergence").textContent = "";
  element("table").scrollTop = 0;
  log.clear();
  [lastId, isListed] = [null, false];
  stream.abort();
  tenants.render();
  draw();
}

/** Show what there is, with the next frame. */
function draw() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    table.render();
    log.render();
    picture.render();
    const { shown, peers } = roster;
    element("count").textContent = shown.length === peers.size ? `${peers.size} peers` : `${shown.length} of ${peers.size} peers`;
  });
}

/** Follow the events for ever, from where they were broken off. */
async function follow() {
  for (let failures = 0; ; failures++) {
    const tenant = chosen;
    stream = new AbortController();
    try {
      for await (const events of api.events(tenant, lastId, stream.signal)) {
        failures = 0;
        linked(true);
        if (!isListed) await listAll();
        for (const [id, name, data] of events) {
          if (tenant !== chosen) break;
          if (id !== null) lastId = id;
          if (name === null) continue;
          if (name === "gap") isListed = false;
          else if (data.tenant === chosen && data.virtual_ip) roster.apply(name, data);
          log.add(name, data);
        }
        if (!isListed) await listAll();
        draw();
      }
    } catch (error) {
      if (tenant !== chosen) continue;
      if (error instanceof Refused && error.status < 500) note(error.message, true);
    }
    if (tenant !== chosen) continue;
    linked(false);
    await sleep(Math.min(5000, 250 * 2 ** failures));
  }
}

function linked(isLive) {
  element("link").dataset.state = isLive ? "live" : "lost";
  element("link").textContent = isLive ? "live" : "connecting again…";
}

async function listAll() {
  isListed = true;
  for (let after = ""; after !== null && chosen !== null; ) after = await listPage(after);
}

/** Take one page of the list, and return where the next one begins; null is the end. */
async function listPage(after) {
  const asked = roster, version = roster.version;
  const path = `/v1/tenants/${encodeURIComponent(chosen)}/peers?limit=${PAGE}&after=${after}`;
  const page = await api.get(path).catch(nobody({ peers: [], next: null }));
  if (roster !== asked) return null;
  roster.take(page.peers, after, page.next === null, version);
  draw();
  return page.next;
}

function nobody(answer) {
  return (error) => {
    if (error instanceof Refused && error.status === 404) return answer;
    throw error;
  };
}

async function pathsPage(after) {
  const asked = roster;
  const answer = await api.get(`/v1/tenants/${encodeURIComponent(chosen)}/paths?limit=${PAGE}&after=${after}`).catch(nobody(null));
  if (roster !== asked) return null;
  if (after === "") picture.next = new Map();
  for (const { virtual_ip, paths } of answer?.paths ?? []) picture.next.set(virtual_ip, paths);
  if (!answer?.next) [picture.paths, picture.next] = [picture.next, null];
  draw();
  return answer?.next ?? null;
}

async function refresh() {
  let [peersAfter, pathsAfter, seen] = ["", "", null];
  for (let tick = 0; ; tick++) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        if (tick % (tenants.all.length > PAGE ? 5 : 1) === 0) await Promise.all([tenants.refresh(), showNodes()]);
        if (chosen !== seen) [peersAfter, pathsAfter, seen] = ["", "", chosen];
        if (chosen !== null && isListed) {
          peersAfter = (await listPage(peersAfter)) ?? "";
          if (!element("picture").hidden) pathsAfter = (await pathsPage(pathsAfter)) ?? "";
          await showConvergence();
        }
      } catch (error) {
        if (error instanceof Refused && error.status < 500) note(error.message, true);
      }
    }
    // A service that is busy is not asked as often.
    await sleep(Math.max(TICK, 50 * (performance.now() - began)));
  }
}

async function showConvergence() {
  const tenant = chosen;
  const answer = await api.get(`/v1/tenants/${encodeURIComponent(tenant)}`).catch(nobody(null));
  if (tenant === chosen) element("convergence").textContent = answer === null ? "Nobody is in." : convergence(answer);
}

async function showNodes() {
  const { nodes } = await api.get("/v1/nodes");
  const ill = nodes.filter((one) => one.state === "silent");
  const up = nodes.filter((one) => one.state === "up").length;
  const silent = ill.length === 0 ? "" : `, silent: ${ill.map((one) => visible(one.node)).join(", ")}`;
  element("nodes").textContent = `${up} ${up === 1 ? "node" : "nodes"} up${silent}`;
  element("nodes").classList.toggle("fault", ill.length > 0);
}

async function kick(tenant, peer) {
  const title = `Put out \u2068${visible(peer.display_name)}\u2069?`;
  const answer = await question(title, `The peer at ${peer.virtual_ip} is out at once. It may come back.`, [["yes", ""]], "Put out");
  if (answer === null) return;
  await attempt(async () => {
    await api.call("DELETE", `/v1/tenants/${encodeURIComponent(tenant)}/peers/${peer.virtual_ip}`);
    note(`\u2068${visible(peer.display_name)}\u2069 is out.`);
  });
}

async function revoke(tenant, peer) {
  const choices = [["here", `its key in ${tenant}`], ["everywhere", "its key in all tenants"]];
  if (peer.invitation) choices.unshift(["invitation", `invitation ${peer.invitation}, and whoever came by it`]);
  const title = `Revoke \u2068${visible(peer.display_name)}\u2069?`;
  const answer = await question(title, "It is out at once, and does not get in again.", choices, "Revoke");
  if (answer === null) return;
  const key = { public_key: peer.public_key };
  const body = { invitation: { invitation: peer.invitation }, here: { ...key, tenant }, everywhere: key }[answer];
  await attempt(async () => {
    let receipt = await api.call("POST", "/v1/revocations", body);
    for (let tries = 0; receipt.applied.since === null && tries < 20; tries++) {
      await sleep(500);
      receipt = await api.get(`/v1/revocations/${receipt.id}`);
    }
    const { by, of, since } = receipt.applied;
    const taken = since === null ? `${by} of ${of}` : "all";
    note(`Revoked: ${receipt.put_out} put out; ${taken} of those that say so have taken it out of their WireGuard.`);
  });
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    note(error.message, true);
  }
}

function view(isPicture) {
  element("table").hidden = isPicture;
  element("picture").hidden = !isPicture;
  element("as-table").setAttribute("aria-pressed", String(!isPicture));
  element("as-picture").setAttribute("aria-pressed", String(isPicture));
  if (isPicture && chosen !== null) attempt(() => pathsPage(""));
  draw();
}

element("as-table").addEventListener("click", () => view(false));
element("as-picture").addEventListener("click", () => view(true));
element("peer-search").addEventListener("input", (event) => {
  roster.search(event.target.value);
  element("table").scrollTop = 0;
  draw();
});
element("peer-search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") element("rows").querySelector('tr[tabindex="0"]')?.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select") || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  element(chosen === null ? "tenant-search" : "peer-search").focus();
});
addEventListener("hashchange", () => choose(decodeURIComponent(location.hash.slice(1)) || null));
choose(decodeURIComponent(location.hash.slice(1)) || null);
follow();
refresh();
