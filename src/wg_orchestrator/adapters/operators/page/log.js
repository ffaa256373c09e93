// The log of events: the latest ones, the newest first.

import { visible } from "./text.js";

const MOST = 300;

export class Log {
  constructor(list) {
    this.list = list;
    this.waiting = [];
  }

  add(name, data) {
    this.waiting.push([name, data]);
    if (this.waiting.length > MOST) this.waiting.shift();
  }

  clear() {
    this.waiting = [];
    this.list.replaceChildren();
  }

  render() {
    if (this.waiting.length === 0) return;
    const lines = document.createDocumentFragment();
    for (const [name, data] of this.waiting.reverse()) {
      const line = lines.appendChild(document.createElement("li"));
      line.className = name;
      line.textContent = told(name, data);
    }
    this.waiting = [];
    this.list.prepend(lines);
    while (this.list.childElementCount > MOST) this.list.lastElementChild.remove();
  }
}

function told(name, data) {
  const time = new Date(data.at).toLocaleTimeString();
  if (name === "gap") return `${time}  some events may be missing`;
  if (name === "node_up" || name === "node_down") return `${time}  node ${visible(data.node)} is ${name.slice(5)}`;
  const where = data.tenant === null ? "" : `  ${data.tenant}`;
  if (name === "refused") return `${time}${where}  refused: ${visible(data.cause)}`;
  const cause = data.cause === null || data.cause === "left" ? "" : ` (${data.cause})`;
  const revision = data.revision === null ? "" : `  revision ${data.revision}`;
  return `${time}${where}${revision}  ${data.virtual_ip}  ${name}${cause}  \u2068${visible(data.display_name)}\u2069`;
}
