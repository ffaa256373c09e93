// The peers as a table. Only the rows that are in view are there, however many peers there are.

import { visible } from "./text.js";

const HEIGHT = 32;
const BEYOND = 6; // Rows above and below what is in view.

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const COLUMNS = [
  ["display_name", "Name", "name", (peer) => visible(peer.display_name)],
  ["virtual_ip", "Address", "", (peer) => peer.virtual_ip],
  ["protocol", "Protocol", "medium", (peer) => (peer.protocol === undefined ? "" : peer.protocol ?? "away")],
  ["node", "Node", "wide", (peer) => peer.node ?? ""],
  ["source", "Source", "wide", (peer) => peer.source ?? ""],
  ["since", "Since", "medium", (peer) => (peer.since ? moment(new Date(peer.since)) : "")],
  ["applied", "Applied", "medium", (peer) => (peer.applied === null || peer.applied === undefined ? "" : String(peer.applied))],
  ["proven", "Proven", "widest", (peer) => (peer.proven ? "yes" : "")],
  ["invitation", "Invitation", "widest", (peer) => peer.invitation ?? ""],
];

export class Table {
  /** `open` is called with a peer that somebody wants to see, `sort` with a column. */
  constructor(scroller, columns, rows, open, sort) {
    this.scroller = scroller;
    this.rows = rows;
    this.roster = null;
    this.chosen = null; // The address of the row that the keyboard is at.
    this.open = open;
    this.heads = COLUMNS.map(([name, label, kind]) => {
      const head = columns.appendChild(document.createElement("th"));
      head.scope = "col";
      head.className = kind === "name" ? "" : kind;
      const button = head.appendChild(document.createElement("button"));
      button.textContent = label;
      button.addEventListener("click", () => sort(name));
      return [name, head];
    });
    [this.above, this.below] = [rows.appendChild(space()), rows.appendChild(space())];
    this.pool = [];
    scroller.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.render()).observe(scroller);
    rows.addEventListener("click", (event) => this.#opened(event.target.closest("tr")));
    rows.addEventListener("keydown", (event) => this.#key(event));
  }

  render() {
    if (this.roster === null || this.scroller.offsetParent === null) return;
    const { shown, column, sign } = this.roster;
    for (const [name, head] of this.heads)
      set(head, "aria-sort", name === column ? (sign > 0 ? "ascending" : "descending") : "none");
    const inView = Math.ceil(this.scroller.clientHeight / HEIGHT) + 2 * BEYOND;
    const highest = Math.max(0, shown.length - inView);
    const first = Math.min(Math.max(0, Math.floor(this.scroller.scrollTop / HEIGHT) - BEYOND), highest);
    const count = Math.min(inView, shown.length - first);
    while (this.pool.length < count) this.pool.push(this.rows.insertBefore(row(), this.below));
    while (this.pool.length > count) this.pool.pop().remove();
    // With one row that the keyboard can get to, whatever is in view.
    const chosen = shown.findIndex((peer, index) => index >= first && index < first + count && peer.virtual_ip === this.chosen);
    this.pool.forEach((line, index) => this.#fill(line, shown[first + index], first + index, chosen === -1 ? first : chosen));
    height(this.above, first * HEIGHT);
    height(this.below, (shown.length - first - count) * HEIGHT);
    set(this.rows.parentElement, "aria-rowcount", String(shown.length + 1));
  }

  #fill(line, peer, index, reachable) {
    line.dataset.address = peer.virtual_ip;
    set(line, "aria-rowindex", String(index + 2));
    set(line, "aria-selected", String(peer.virtual_ip === this.chosen));
    line.tabIndex = index === reachable ? 0 : -1;
    line.classList.toggle("away", peer.protocol === null);
    COLUMNS.forEach(([, , , text], number) => {
      const cell = line.cells[number], said = text(peer);
      if (cell.textContent !== said) cell.textContent = cell.title = said;
    });
  }

  #opened(line) {
    const peer = this.roster.peers.get(line?.dataset.address);
    if (peer === undefined) return;
    this.#choose(peer);
    this.open(peer);
  }

  #choose(peer) {
    this.chosen = peer.virtual_ip;
    const top = this.roster.place(peer) * HEIGHT, room = this.scroller.clientHeight - HEIGHT;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + HEIGHT > this.scroller.scrollTop + room) this.scroller.scrollTop = top + HEIGHT - room;
    this.render();
    this.pool.find((line) => line.dataset.address === this.chosen)?.focus({ preventScroll: true });
  }

  #key(event) {
    const { shown } = this.roster;
    const line = event.target.closest("tr");
    if (line === null || shown.length === 0) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#opened(line);
      return;
    }
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const at = Number(line.getAttribute("aria-rowindex")) - 2 + steps[event.key];
    this.#choose(shown[Math.min(Math.max(0, at), shown.length - 1)]);
  }
}

function moment(time) {
  return (time.toDateString() === new Date().toDateString() ? TIME : DAY).format(time);
}

function row() {
  const line = document.createElement("tr");
  for (const [, , kind] of COLUMNS) {
    const cell = line.insertCell();
    cell.className = kind;
  }
  return line;
}

function space() {
  const line = document.createElement("tr");
  line.className = "space";
  line.setAttribute("aria-hidden", "true");
  line.insertCell().colSpan = COLUMNS.length;
  return line;
}

function height(line, pixels) {
  line.hidden = pixels === 0;
  line.cells[0].style.height = `${pixels}px`;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
