// The elements of Block Kit that the bot sends: buttons with their confirmation, and the input of a form.
import { append, h } from "./dom.js";
import { plain, textObject } from "./mrkdwn.js";

/**
 * Draw a button. `ctx` has: `world` (names), `blockId`, `act(action)` (send a click; settles when it is answered) and
 * `confirm(dialog)` (ask first).
 */
export function button(one, ctx) {
  const node = h(
    "button",
    {
      type: "button",
      class: `btn ${one.style ?? ""}`.trim(),
      "data-testid": `button-${one.action_id}`,
      "data-value": one.value,
    },
    h("span", { class: "btn-label" }, textObject(one.text, ctx.world)),
  );
  node.addEventListener("click", () => press(node, one, ctx));
  return node;
}

/** Run a click with its confirmation dialog and show that it is under way on `node`. */
async function press(node, one, ctx) {
  if (node.getAttribute("aria-busy") === "true") return;
  if (one.confirm && !(await ctx.confirm(one.confirm))) return;
  node.setAttribute("aria-busy", "true");
  node.setAttribute("aria-disabled", "true");
  try {
    await ctx.act({ action_id: one.action_id, block_id: ctx.blockId, value: one.value });
  } finally {
    node.removeAttribute("aria-busy");
    node.removeAttribute("aria-disabled");
  }
}

/** Draw the text input of a form. */
export function textInput(one) {
  const shared = {
    class: "input",
    minlength: one.min_length,
    maxlength: one.max_length,
    "data-testid": `input-${one.action_id}`,
    autocomplete: "off",
  };
  return one.multiline ? h("textarea", { ...shared, rows: 4 }) : h("input", { ...shared, type: "text" });
}

/** Ask with a `confirm` object before an action; resolves to whether the person agreed. */
export function confirmDialog(dialog, world) {
  return new Promise((resolve) => {
    const ok = h("button", { type: "button", class: "btn primary", "data-testid": "confirm-ok" }, plain(dialog.confirm.text));
    const no = h("button", { type: "button", class: "btn", "data-testid": "confirm-cancel" }, plain(dialog.deny.text));
    const node = h("dialog", { class: "dialog small", "data-testid": "confirm", "aria-label": dialog.title.text });
    append(node, [
      h("header", {}, h("h2", {}, plain(dialog.title.text))),
      h("div", { class: "dialog-body" }, textObject(dialog.text, world)),
      h("footer", {}, no, ok),
    ]);
    let agrees = false;
    ok.addEventListener("click", () => {
      agrees = true;
      node.close();
    });
    no.addEventListener("click", () => node.close());
    node.addEventListener("close", () => {
      node.remove();
      resolve(agrees);
    });
    document.body.append(node);
    node.showModal();
    ok.focus();
  });
}
