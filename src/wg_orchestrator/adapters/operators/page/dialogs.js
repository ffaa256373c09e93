// What is asked before something is done, and what is shown of one peer.

import { visible } from "./text.js";

export const element = (id) => document.getElementById(id);

/** Say something for a while. */
export function note(text, isFault = false) {
  const line = element("notes").appendChild(document.createElement("p"));
  line.textContent = text;
  line.classList.toggle("fault", isFault);
  setTimeout(() => line.remove(), isFault ? 12_000 : 6_000);
  return line;
}

/** Resolves to the token that somebody gives. */
export function askToken(wasWrong) {
  const dialog = element("token-dialog"), input = element("token");
  element("token-fault").textContent = wasWrong ? "That is not the token." : "";
  input.value = "";
  dialog.oncancel = (event) => event.preventDefault(); // Nothing can be seen without it.
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const given = input.value.trim();
      input.value = "";
      resolve(given);
    };
  });
}

/** Resolves to the choice, or to null if the answer is no. `choices` are [value, label]; with one there is no choice. */
export function question(title, text, choices, yes) {
  const dialog = element("question-dialog");
  element("question-title").textContent = title;
  element("question-text").textContent = text;
  element("question-yes").textContent = yes;
  element("question-choices").replaceChildren(
    ...(choices.length < 2 ? [] : choices).map(([value, label], index) => {
      const line = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "choice", value, checked: index === 0 });
      line.append(input, label);
      return line;
    }),
  );
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const chosen = dialog.querySelector("input:checked")?.value ?? choices[0]?.[0] ?? "";
      resolve(dialog.returnValue === "yes" ? chosen : null);
    };
  });
}

export class PeerDialog {
  constructor(api, actions) {
    this.api = api;
    this.dialog = element("peer-dialog");
    for (const name of ["kick", "revoke"])
      element(`peer-${name}`).addEventListener("click", () => {
        this.dialog.close();
        actions[name](this.tenant, this.peer);
      });
    element("peer-holders").addEventListener("click", () => this.#showHolders());
  }

  show(tenant, peer) {
    [this.tenant, this.peer] = [tenant, peer];
    element("peer-title").textContent = visible(peer.display_name);
    element("peer-history").hidden = true;
    const time = (text) => (text ? new Date(text).toLocaleString() : "");
    const facts = [
      ["Address", peer.virtual_ip], ["Public key", peer.public_key], ["Endpoints", (peer.endpoints ?? []).join(", ")],
      ["Proven", peer.proven ? "yes" : "no"], ["Protocol", peer.protocol ?? "away"], ["Node", peer.node],
      ["Source", peer.source], ["Since", time(peer.since)], ["Applied", peer.applied], ["Invitation", peer.invitation],
    ];
    element("peer-facts").replaceChildren(
      ...facts.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => {
        const [term, said] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = name;
        said.textContent = value;
        return [term, said];
      }),
    );
    if (!this.dialog.open) this.dialog.showModal();
  }

  async #showHolders() {
    const list = element("peer-history"), peer = this.peer;
    let lines;
    try {
      const path = `/v1/tenants/${encodeURIComponent(this.tenant)}/history?limit=1000&virtual_ip=${peer.virtual_ip}`;
      const { holders } = await this.api.get(path);
      const time = (text) => (text === null ? "now" : new Date(text).toLocaleString());
      lines = holders.reverse().map((one) => {
        const cause = one.cause === null ? "" : ` (${one.cause})`;
        return `${time(one.from)} – ${time(one.to)}${cause}: \u2068${visible(one.display_name)}\u2069, ${one.public_key}`;
      });
    } catch (error) {
      lines = [error.message];
    }
    list.replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    list.hidden = false;
  }
}
