// The peers of a tenant, and those of them that are shown, in their order.

/** An address as a number by which addresses are ordered. */
export function order(address) {
  if (!address.includes(":")) return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const [head, tail] = address.split("::");
  const groups = (part) => (part ? part.split(":") : []);
  const first = groups(head), last = tail === undefined ? [] : groups(tail);
  const all = [...first, ...Array(8 - first.length - last.length).fill("0"), ...last];
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

const words = new Intl.Collator(undefined, { numeric: true });

export class Roster {
  constructor() {
    this.peers = new Map(); // By virtual IP.
    this.shown = [];
    this.column = "virtual_ip";
    this.sign = 1;
    this.needle = "";
    this.version = 0;
    this.touched = new Map(); // When, by this roster's count, the last event of an address was.
  }

  apply(name, data) {
    this.touched.set(data.virtual_ip, ++this.version);
    if (name === "left") {
      if (this.peers.get(data.virtual_ip)?.public_key === data.public_key) this.#delete(data.virtual_ip);
      return;
    }
    const known = this.peers.get(data.virtual_ip);
    const said = { display_name: data.display_name, public_key: data.public_key, virtual_ip: data.virtual_ip };
    if (name === "joined" || known === undefined || known.public_key !== data.public_key)
      this.#put({ ...said, node: data.node, since: data.at, protocol: undefined, applied: null, source: null, endpoints: [] });
    else this.#put({ ...known, ...said });
  }

  /** Take a page of the API's list, asked for at `version`: what it says of addresses from beyond `after` to its end. */
  take(peers, after, isLast, version) {
    const from = after === "" ? -1 : order(after);
    const to = isLast ? Infinity : order(peers.at(-1).virtual_ip);
    const listed = new Set(peers.map((peer) => peer.virtual_ip));
    const isOlder = (address) => (this.touched.get(address) ?? 0) <= version;
    for (const peer of [...this.peers.values()])
      if (peer.order > from && peer.order <= to && !listed.has(peer.virtual_ip) && isOlder(peer.virtual_ip))
        this.#delete(peer.virtual_ip);
    for (const peer of peers) if (isOlder(peer.virtual_ip)) this.#put(peer);
    if (isLast) this.touched.clear();
  }

  sort(column) {
    this.sign = column === this.column ? -this.sign : 1;
    this.column = column;
    this.#showAnew();
  }

  search(text) {
    this.needle = text.trim().toLowerCase();
    this.#showAnew();
  }

  /** Where in `shown` the peer is, or would be. */
  place(peer) {
    let low = 0, high = this.shown.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(this.shown[middle], peer) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #put(said) {
    const peer = { ...said, order: order(said.virtual_ip) };
    const known = this.peers.get(peer.virtual_ip);
    this.peers.set(peer.virtual_ip, peer);
    if (known !== undefined && this.#compare(known, peer) === 0 && this.#matches(known) && this.#matches(peer)) {
      this.shown[this.place(known)] = peer; // It stays where it is.
      return;
    }
    if (known !== undefined) this.#hide(known);
    if (this.#matches(peer)) this.shown.splice(this.place(peer), 0, peer);
  }

  #delete(address) {
    const known = this.peers.get(address);
    this.peers.delete(address);
    this.#hide(known);
  }

  #hide(peer) {
    const place = this.place(peer);
    if (this.shown[place]?.virtual_ip === peer.virtual_ip) this.shown.splice(place, 1);
  }

  #showAnew() {
    this.shown = [...this.peers.values()].filter((peer) => this.#matches(peer)).sort((one, two) => this.#compare(one, two));
  }

  #matches(peer) {
    if (this.needle === "") return true;
    const fields = [peer.display_name, peer.virtual_ip, peer.public_key, peer.node, peer.source, peer.invitation];
    return fields.some((field) => field?.toLowerCase().includes(this.needle));
  }

  #compare(one, two) {
    const [a, b] = [one[this.column] ?? "", two[this.column] ?? ""];
    let sign = 0;
    if (this.column !== "virtual_ip" && a !== b)
      sign = typeof a === "number" && typeof b === "number" ? a - b : words.compare(String(a), String(b));
    if (sign === 0) sign = one.order < two.order ? -1 : one.order > two.order ? 1 : 0;
    return sign * this.sign;
  }
}
