// Making an invitation, and showing its command.

import { element, note } from "./dialogs.js";

/** `tenant` gives the tenant that somebody looks at, or null. */
export function setUpInviting(api, tenant) {
  const dialog = element("invite-dialog"), form = element("invite-form"), fault = element("invite-fault");
  element("invite").addEventListener("click", () => {
    fault.textContent = "";
    form.tenant.value = tenant() ?? form.tenant.value;
    if (form.url.value === "") form.url.value = `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:8000`;
    dialog.showModal();
  });
  element("invite-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const number = (field) => (field.value === "" ? null : Number(field.value));
    const name = form.elements.name.value.trim();
    const wanted = { tenant: form.tenant.value, uses: number(form.uses), expires: number(form.expires), stay: number(form.stay) };
    try {
      const made = await api.call("POST", "/v1/invitations", name === "" ? wanted : { ...wanted, name });
      const command = `wg-orchestrator up ${form.url.value.replace(/\/+$/, "")}/tenants/${wanted.tenant} --invitation ${made.token}`;
      dialog.close();
      await show(api, made.id, command);
    } catch (error) {
      fault.textContent = error.message;
    }
  });
  element("invitation-copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(element("invitation-command").textContent);
      note("Copied.");
    } catch {
      getSelection().selectAllChildren(element("invitation-command"));
      note("Selected: copy it with the keyboard.");
    }
  });
  element("invitation-dialog").addEventListener("close", () => {
    element("invitation-command").textContent = "";
    element("invitation-code").width = 0;
  });
}

async function show(api, id, command) {
  element("invitation-id").textContent = id;
  element("invitation-command").textContent = command;
  element("invitation-dialog").showModal();
  const { rows } = await api.call("POST", "/v1/qr-code", { text: command });
  const canvas = element("invitation-code"), border = 4;
  canvas.width = canvas.height = rows.length + 2 * border;
  const draw = canvas.getContext("2d");
  draw.fillStyle = "#fff"; // Dark on light, whatever the page is: not every reader takes the opposite.
  draw.fillRect(0, 0, canvas.width, canvas.height);
  draw.fillStyle = "#000";
  rows.forEach((row, y) => [...row].forEach((dot, x) => dot === "1" && draw.fillRect(x + border, y + border, 1, 1)));
}
