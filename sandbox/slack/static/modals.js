// Modal views: drawn from the topmost open view of the acting person, submitted and closed through the control API.
import * as api from "./api.js";
import { blocks } from "./blocks.js";
import { append, h } from "./dom.js";
import { confirmDialog } from "./elements.js";
import { plain } from "./mrkdwn.js";

export class Modals {
  /** `act(view, action)` sends a click on an element of a view; `changed()` draws the page again. */
  constructor(world, { act, changed }) {
    this.world = world;
    this.act = act;
    this.changed = changed;
    this.fields = new Map(); // "block_id action_id" -> field of elements.js
    this.shown = null; // the view that is drawn
    this.drawn = "";
    this.errors = {};
    this.node = h("dialog", { class: "dialog", "data-testid": "modal", "aria-labelledby": "modal-title" });
    this.node.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    document.body.append(this.node);
  }

  /** Make the dialog show the topmost view, or nothing. What was typed stays where ids stay the same. */
  draw() {
    const view = this.world.views.at(-1) ?? null;
    if (!view) {
      this.shown = null;
      this.drawn = "";
      this.errors = {};
      this.fields.clear();
      if (this.node.open) this.node.close();
      this.node.replaceChildren();
      return;
    }
    const same = this.shown?.id === view.id;
    if (!same) this.errors = {};
    const signature = JSON.stringify([view, this.errors, this.world.notices.get(view.id), this.world.me]);
    if (signature === this.drawn) return;
    const typed = same ? new Map([...this.fields].map(([key, field]) => [key, field.read()])) : new Map();
    const focused = same && this.node.contains(document.activeElement) ? document.activeElement.id : null;
    this.fields.clear();
    this.shown = view;
    this.drawn = signature;
    this.node.replaceChildren(...this.content(view));
    for (const [key, value] of typed) this.fields.get(key)?.write(value);
    if (!this.node.open) this.node.showModal();
    const first =
      (focused && document.getElementById(focused)) ||
      this.node.querySelector("[aria-invalid], .input, .select, .choices input");
    first?.focus();
  }

  content(view) {
    const stray = Object.entries(this.errors).filter(
      ([id]) => !(view.blocks ?? []).some((block) => block.block_id === id && block.type === "input"),
    );
    const notice = [this.world.notices.get(view.id), ...stray.map(([, text]) => text)].filter(Boolean);
    const ctx = {
      world: this.world,
      surface: "modal",
      errors: this.errors,
      confirm: (dialog) => confirmDialog(dialog, this.world),
      act: (action) => this.act(view, action),
      register: (blockId, actionId, field) =>
        this.fields.set(`${blockId} ${actionId}`, { ...field, blockId, actionId }),
    };
    const form = h(
      "form",
      { novalidate: true, id: "modal-form", class: "dialog-body" },
      notice.map((text) => h("p", { class: "notice", role: "alert", "data-testid": "modal-notice" }, text)),
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
    cross.addEventListener("click", () => this.close({ clear: true }));
    cancel.addEventListener("click", () => this.close());
    this.submitButton = view.submit
      ? h(
          "button",
          { type: "submit", form: "modal-form", class: "btn primary", "data-testid": "modal-submit" },
          h("span", { class: "btn-label" }, plain(view.submit.text)),
        )
      : null;
    return [
      h("header", {}, h("h2", { id: "modal-title" }, plain(view.title?.text ?? "")), cross),
      form,
      append(h("footer"), [
        h("span", { class: "as" }, `as ${this.world.people.get(this.world.me)?.name ?? this.world.me}`),
        cancel,
        this.submitButton,
      ]),
    ];
  }

  values() {
    const values = {};
    for (const { blockId, actionId, read } of this.fields.values()) (values[blockId] ??= {})[actionId] = read();
    return values;
  }

  /** What Slack itself refuses before the app hears of it: empty required fields and lengths. */
  missing() {
    const errors = {};
    for (const { blockId, read, optional, one } of this.fields.values()) {
      if (!one) continue;
      const value = read();
      const text = typeof value === "string" ? value : null;
      const empty =
        value === null ||
        (typeof value === "object" && Object.values(value).every((part) => part === null || part.length === 0));
      if (empty && !optional) errors[blockId] = "Please complete this required field.";
      else if (text !== null && one.min_length && text.length < one.min_length)
        errors[blockId] = `Please use at least ${one.min_length} characters.`;
      else if (text !== null && one.max_length && text.length > one.max_length)
        errors[blockId] = `Please use at most ${one.max_length} characters.`;
    }
    return errors;
  }

  async submit() {
    const view = this.shown;
    if (!view || this.submitButton?.getAttribute("aria-busy") === "true") return;
    const errors = this.missing();
    this.world.notices.delete(view.id);
    if (Object.keys(errors).length) return this.refuse(errors);
    this.submitButton?.setAttribute("aria-busy", "true");
    try {
      const answer = await api.submit(this.world.me, view.id, this.values());
      if (answer.errors) return this.refuse(answer.errors);
      if (answer.error) this.world.notices.set(view.id, `We had some trouble connecting. ${api.explain(answer.error)}`);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      this.world.notices.set(view.id, error.message);
    } finally {
      this.submitButton?.removeAttribute("aria-busy");
    }
    this.errors = {};
    this.changed();
  }

  refuse(errors) {
    this.errors = errors;
    this.drawn = "";
    this.draw();
  }

  /** Close the topmost view, or with `clear` the whole stack, as the cross in the corner does. */
  async close({ clear = false } = {}) {
    const view = this.shown;
    if (!view) return;
    this.world.views = clear ? [] : this.world.views.filter((one) => one.id !== view.id);
    this.world.notices.delete(view.id);
    this.changed();
    try {
      await api.close(this.world.me, view.id, clear);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error; // closed already, or the connection banner says it
    }
  }
}
