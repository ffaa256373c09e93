// The list of tenants.

const MOST = 200;
const PAGE = 500;

export class Tenants {
  /** `choose` is called with the tenant that somebody wants to see. */
  constructor(api, list, search, empty, choose) {
    Object.assign(this, { api, list, search, empty, choose });
    this.all = [];
    this.chosen = null;
    search.addEventListener("input", () => this.render());
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button !== null) choose(button.dataset.tenant);
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.target.closest("li")?.[step]?.querySelector("button")?.focus();
    });
  }

  async refresh() {
    const all = [];
    let after = "";
    do {
      const page = await this.api.get(`/v1/tenants?limit=${PAGE}&after=${encodeURIComponent(after)}`);
      all.push(...page.tenants.map(({ tenant, peers }) => [tenant, peers]));
      after = page.next;
    } while (after !== null);
    this.all = all;
    this.render();
  }

  render() {
    const needle = this.search.value.trim().toLowerCase();
    const found = this.all.filter(([name]) => name.toLowerCase().includes(needle));
    const shown = found.slice(0, MOST);
    while (this.list.childElementCount > shown.length) this.list.lastElementChild.remove();
    while (this.list.childElementCount < shown.length) this.list.append(line());
    shown.forEach(([name, peers], index) => {
      const button = this.list.children[index].firstElementChild;
      button.dataset.tenant = name;
      const [said, count] = button.children;
      if (said.textContent !== name) said.textContent = said.title = name;
      if (count.textContent !== String(peers)) count.textContent = peers;
      button.setAttribute("aria-current", String(name === this.chosen));
    });
    this.empty.hidden = found.length > 0 && found.length <= MOST;
    this.empty.textContent =
      found.length > MOST ? `and ${found.length - MOST} more: search for them` : this.all.length > 0 ? "None is called so." : "Nobody is in.";
  }
}

function line() {
  const item = document.createElement("li");
  const button = item.appendChild(document.createElement("button"));
  button.append(document.createElement("span"), Object.assign(document.createElement("span"), { className: "quiet" }));
  return item;
}
