// Modal views: drawn from the open view of the acting person, submitted and closed through the control API.
import * as api from "./api.js";
import { blocks } from "./blocks.js";
import { append, h } from "./dom.js";
import { plain } from "./mrkdwn.js";

export class Modals {
  /** `changed()` draws the page again. */
  constructor(world, { changed }) {
    this.world = world;
    this.changed = changed;
    this.inputs = new Map(); // block_id -> {block, control}
    this.view = null; // that is drawn
    this.signature = "";
    this.errors = {};
    this.node = h("dialog", { class: "dialog", "data-testid": "modal", "aria-labelledby": "modal-title" });
    this.node.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    document.body.append(this.node);
  }

  /** Make the dialog show the open view, or nothing. What was typed stays as long as it is the same view. */
  draw() {
    const view = this.world.views.at(-1) ?? null;
    if (!view) {
      this.view = null;
      this.signature = "";
      this.errors = {};
      this.inputs.clear();
      if (this.node.open) this.node.close();
      this.node.replaceChildren();
      return;
    }
    const isSame = this.view?.id === view.id;
    if (!isSame) this.errors = {};
    const signature = JSON.stringify([view, this.errors, this.world.notices.get(view.id), this.world.me]);
    if (signature === this.signature) return;
    const texts = isSame ? [...this.inputs].map(([id, { control }]) => [id, control.value]) : [];
    const focus = isSame && this.node.contains(document.activeElement) ? document.activeElement.id : null;
    this.inputs.clear();
    this.view = view;
    this.signature = signature;
    this.node.replaceChildren(...this.content(view));
    for (const [id, text] of texts) this.inputs.get(id).control.value = text;
    if (!this.node.open) this.node.showModal();
    const first = (focus && document.getElementById(focus)) || this.node.querySelector("[aria-invalid], .input");
    first?.focus();
  }

  content(view) {
    const notice = this.world.notices.get(view.id);
    const ctx = {
      world: this.world,
      errors: this.errors,
      register: (block, control) => this.inputs.set(block.block_id, { block, control }),
    };
    const form = h(
      "form",
      { novalidate: true, id: "modal-form", class: "dialog-body" },
      notice && h("p", { class: "notice", role: "alert", "data-testid": "modal-notice" }, notice),
      blocks(view.blocks, ctx),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    const cross = h(
      "button",
      { type: "button", class: "btn icon quiet", "aria-label": "Close", "data-testid": "modal-close" },
      h("span", { class: "cross", "aria-hidden": "true" }),
    );
    const cancel = h(
      "button",
      { type: "button", class: "btn", "data-testid": "modal-cancel" },
      plain(view.close?.text ?? (view.submit ? "Cancel" : "Close")),
    );
    for (const one of [cross, cancel]) one.addEventListener("click", () => this.close());
    this.submitButton = view.submit
      ? h(
          "button",
          { type: "submit", form: "modal-form", class: "btn primary", "data-testid": "modal-submit" },
          h("span", { class: "btn-label" }, plain(view.submit.text)),
        )
      : null;
    return [
      h("header", {}, h("h2", { id: "modal-title" }, plain(view.title.text)), cross),
      form,
      append(h("footer"), [
        h("span", { class: "as" }, `as ${this.world.people.get(this.world.me).name}`),
        cancel,
        this.submitButton,
      ]),
    ];
  }

  values() {
    return Object.fromEntries(
      [...this.inputs].map(([id, { block, control }]) => [id, { [block.element.action_id]: control.value }]),
    );
  }

  /** Send what was typed. What Slack itself refuses, an empty input or a length, the sandbox answers at once. */
  async submit() {
    const view = this.view;
    if (!view || this.submitButton?.getAttribute("aria-busy") === "true") return;
    this.world.notices.delete(view.id);
    this.submitButton?.setAttribute("aria-busy", "true");
    this.errors = {};
    try {
      const answer = await api.submit(this.world.me, view.id, this.values());
      this.errors = answer.errors ?? {};
      if (answer.error && !answer.errors) {
        this.world.notices.set(view.id, `We had some trouble connecting. ${api.explain(answer.error)}`);
      }
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      this.world.notices.set(view.id, error.message);
    } finally {
      this.submitButton?.removeAttribute("aria-busy");
    }
    this.signature = "";
    this.changed();
  }

  async close() {
    const view = this.view;
    if (!view) return;
    this.world.views = [];
    this.world.notices.delete(view.id);
    this.changed();
    try {
      await api.close(this.world.me, view.id);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error; // closed already, or the connection banner says it
    }
  }
}
