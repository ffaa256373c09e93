// Who reaches whom, by which path, as far as the peers say.

import { visible } from "./text.js";

const NAMED = 60; // With more peers than that, only the one that is pointed at is named.
const TURN = Math.PI * (3 - Math.sqrt(5));

export class Picture {
  /** `open` is called with a peer that somebody wants to see. */
  constructor(canvas, note, open) {
    this.canvas = canvas;
    this.note = note;
    this.roster = null;
    this.paths = new Map(); // By virtual IP: what that peer says, by the others' virtual IPs.
    this.places = new Map();
    this.pointed = null;
    new ResizeObserver(() => this.render()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.#point(this.#at(event)));
    canvas.addEventListener("pointerleave", () => this.#point(null));
    canvas.addEventListener("click", (event) => {
      const peer = this.roster?.peers.get(this.#at(event));
      if (peer !== undefined) open(peer);
    });
  }

  render() {
    if (this.roster === null || this.canvas.offsetParent === null) return;
    const scale = devicePixelRatio, { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const draw = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    draw.setTransform(scale, 0, 0, scale, 0, 0);
    draw.clearRect(0, 0, width, height);
    const peers = this.roster.shown;
    this.#lay(peers, width, height);
    const count = this.#edges(draw, colour);
    const size = peers.length > NAMED ? Math.max(1.2, Math.min(5, 160 / Math.sqrt(peers.length))) : 6;
    for (const peer of peers) {
      const [x, y] = this.places.get(peer.virtual_ip);
      draw.fillStyle = peer.protocol === null ? colour("quiet") : colour("accent");
      draw.globalAlpha = peer.protocol === null ? 0.5 : 1;
      draw.beginPath();
      draw.arc(x, y, size, 0, 7);
      draw.fill();
    }
    draw.globalAlpha = 1;
    draw.fillStyle = colour("text");
    draw.font = `13px ${style.fontFamily}`;
    const named = peers.length <= NAMED ? peers : peers.filter((peer) => peer.virtual_ip === this.pointed);
    for (const peer of named) this.#name(draw, peer, width);
    const silent = peers.length - peers.filter((peer) => this.paths.has(peer.virtual_ip)).length;
    const said = silent === 0 || peers.length === 0 ? "" : `; ${silent} of ${peers.length} peers do not say how they reach others`;
    this.note.textContent = `${count} paths${said}`;
    this.canvas.setAttribute("aria-label", `Who reaches whom: ${peers.length} peers, ${this.note.textContent}`);
  }

  #lay(peers, width, height) {
    this.places = new Map();
    const [x, y] = [width / 2, height / 2];
    peers.forEach((peer, index) => {
      if (peers.length <= NAMED) {
        const turn = (2 * Math.PI * index) / peers.length - Math.PI / 2;
        this.places.set(peer.virtual_ip, [x + Math.cos(turn) * (x - 130), y + Math.sin(turn) * (y - 30)]);
      } else {
        const out = Math.sqrt((index + 0.5) / peers.length);
        this.places.set(peer.virtual_ip, [x + Math.cos(index * TURN) * out * (x - 12), y + Math.sin(index * TURN) * out * (y - 12)]);
      }
    });
  }

  /** Draw the paths: of all peers, or of the one that is pointed at. A path that one side does not see is not there. */
  #edges(draw, colour) {
    const edges = new Map();
    for (const [from, paths] of this.paths)
      for (const [to, kind] of Object.entries(paths)) {
        if (!this.places.has(from) || !this.places.has(to)) continue;
        const pair = from < to ? `${from} ${to}` : `${to} ${from}`;
        edges.set(pair, edges.get(pair) === "none" ? "none" : kind);
      }
    const widths = { lan: 1.6, direct: 1.6, none: 1 };
    for (const kind of ["none", "direct", "lan"]) {
      draw.strokeStyle = colour(kind);
      draw.lineWidth = widths[kind];
      draw.setLineDash(kind === "none" ? [4, 4] : []);
      draw.globalAlpha = edges.size > 400 && this.pointed === null ? 0.25 : 0.8;
      draw.beginPath();
      for (const [pair, its] of edges) {
        const [one, two] = pair.split(" ");
        if (its !== kind || (this.pointed !== null && one !== this.pointed && two !== this.pointed)) continue;
        draw.moveTo(...this.places.get(one));
        draw.lineTo(...this.places.get(two));
      }
      draw.stroke();
    }
    draw.setLineDash([]);
    draw.globalAlpha = 1;
    return edges.size;
  }

  #name(draw, peer, width) {
    const [x, y] = this.places.get(peer.virtual_ip);
    const isRight = x > width / 2;
    draw.textAlign = isRight === (this.roster.shown.length <= NAMED) ? "left" : "right";
    let text = visible(peer.display_name);
    if (text.length > 18) text = `${[...text].slice(0, 17).join("")}…`;
    // Isolated: a name that runs from right to left turns nothing but itself.
    draw.fillText(`\u2068${text}\u2069`, x + (draw.textAlign === "left" ? 10 : -10), y + 4, 115);
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null, least = 15 ** 2;
    for (const [address, place] of this.places) {
      const distance = (place[0] - x) ** 2 + (place[1] - y) ** 2;
      if (distance < least) [nearest, least] = [address, distance];
    }
    return nearest;
  }

  #point(address) {
    if (address === this.pointed) return;
    this.pointed = address;
    this.canvas.style.cursor = address === null ? "" : "pointer";
    this.render();
  }
}
