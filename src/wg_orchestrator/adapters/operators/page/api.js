// The operators' API, as a browser asks it. The token is kept for as long as the tab is open, and is in no URL.

const KEPT = "wg-orchestrator-token";
const SILENCE = 30_000; // Milliseconds without a byte after which a stream counts as lost: one comes every ten seconds.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Api {
  /** `ask` resolves to a token; it is called when there is none, or a wrong one. */
  constructor(ask) {
    this.ask = ask;
    this.token = sessionStorage.getItem(KEPT);
    this.asking = null;
  }

  get(path) {
    return this.call("GET", path);
  }

  async call(method, path, body) {
    const response = await this.#request(method, path, body === undefined ? {} : { "Content-Type": "application/json" }, {
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return response.status === 204 ? null : await response.json();
  }

  /** All events from after `lastId` on: [id, name, data]. Ends or throws when the stream does. */
  async *events(tenant, lastId, signal) {
    const headers = { Accept: "text/event-stream", ...(lastId === null ? {} : { "Last-Event-ID": lastId }) };
    const query = tenant === null ? "" : `?tenant=${encodeURIComponent(tenant)}`;
    const response = await this.#request("GET", `/v1/events${query}`, headers, { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      yield []; // It is open.
      for (;;) {
        const { done, value } = await within(SILENCE, reader.read());
        if (done) return;
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        const events = parts.map(parsed).filter((event) => event !== null);
        if (events.length > 0) yield events;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  async #request(method, path, headers, options) {
    for (;;) {
      const token = this.token;
      const shown = token === null ? {} : { Authorization: `Bearer ${token}` };
      const response = await fetch(path, { method, headers: { ...headers, ...shown }, cache: "no-store", ...options });
      if (response.status === 401) {
        await this.#askAgain(token);
      } else if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        throw new Refused(response.status, problem.detail ?? response.statusText);
      } else {
        return response;
      }
    }
  }

  async #askAgain(wrong) {
    if (this.token !== wrong) return; // Somebody else has asked meanwhile.
    this.asking ??= this.ask(wrong !== null).finally(() => (this.asking = null));
    this.token = await this.asking;
    sessionStorage.setItem(KEPT, this.token);
  }
}

/** One event of a stream (WHATWG HTML, section 9.2), as this service writes it; null is a comment. Without a name, it says
 *  only where the stream begins. */
export function parsed(part) {
  let id = null, name = null, data = null;
  for (const line of part.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data = JSON.parse(line.slice(6));
  }
  return name === null && id === null ? null : [id, name, data];
}

function within(time, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("the service is silent")), time)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
