// The line in which a person types: messages, slash commands and the list of hints for /release.
import { h } from "./dom.js";

const COMMAND = "/release";
const HINTS = [
  ["start", "vX.Y.Z [notes URL]", "Open a release and run every check"],
  ["status", "[vX.Y.Z]", "Show where the release stands and what is missing"],
  ["plan", "", "Show what a deploy would change, and what takes it back"],
  ["check", "[ID | SECTION | all]", "Run checks again"],
  ["deploy", "", "Deploy once the gate is Go"],
  ["rollback", "[reason]", "Go back to what ran before the deploy"],
  ["abort", "[reason]", "Close the release without a deploy"],
  ["freeze", "[DURATION] REASON", "Stop deploys for 30m, 2h or 1d, or until unfreeze"],
  ["unfreeze", "", "Allow deploys again"],
  ["history", "", "List the latest releases"],
  ["report", "[vX.Y.Z]", "Send the evidence of a release as a file"],
  ["doctor", "", "Check every part the bot needs"],
  ["help", "", "List what can be typed"],
];
const MAX_HEIGHT = 160;

export class Composer {
  /** `form` holds a textarea and a submit button; `send(text)` resolves to whether the text was taken. */
  constructor(form, send, { hints = null } = {}) {
    this.input = form.querySelector("textarea");
    this.button = form.querySelector("[type=submit]");
    this.hints = hints;
    this.send = send;
    this.chosen = -1;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => setTimeout(() => this.showHints([]), 150)); // after a click on a hint
    this.input.addEventListener("focus", () => this.typed());
    this.typed();
  }

  typed() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, MAX_HEIGHT)}px`;
    this.button.classList.toggle("ready", this.input.value.trim() !== "");
    this.showHints(matching(this.input.value));
  }

  key(event) {
    const open = this.hints && !this.hints.hidden;
    if (event.isComposing) return;
    if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const count = this.hints.children.length;
      this.choose((this.chosen + (event.key === "ArrowDown" ? 1 : -1) + count) % count);
    } else if (open && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      this.complete(Math.max(this.chosen, 0));
    } else if (open && event.key === "Enter" && this.chosen >= 0) {
      event.preventDefault();
      this.complete(this.chosen);
    } else if (open && event.key === "Escape") {
      this.showHints([]);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    }
  }

  showHints(list) {
    if (!this.hints) return;
    this.chosen = -1;
    this.shownHints = list;
    this.hints.replaceChildren(
      ...list.map(([name, usage, what], i) => {
        const node = h(
          "li",
          { role: "option", id: `hint-${name}`, "aria-selected": "false" },
          h("span", { class: "hint-command" }, `${COMMAND} ${name}`),
          usage && h("span", { class: "hint-usage" }, ` ${usage}`),
          h("span", { class: "hint-what" }, what),
        );
        node.addEventListener("mousedown", (event) => {
          event.preventDefault();
          this.complete(i);
        });
        return node;
      }),
    );
    this.hints.hidden = list.length === 0;
    this.input.setAttribute("aria-expanded", String(list.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  choose(i) {
    this.chosen = i;
    [...this.hints.children].forEach((node, at) => node.setAttribute("aria-selected", String(at === i)));
    this.hints.children[i].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", this.hints.children[i].id);
  }

  complete(i) {
    const [name, usage] = this.shownHints[i];
    this.input.value = `${COMMAND} ${name}${usage ? " " : ""}`;
    this.input.focus();
    this.typed();
    this.showHints([]);
  }

  async submit() {
    const text = this.input.value.trim();
    if (!text || this.button.getAttribute("aria-busy") === "true") return;
    this.button.setAttribute("aria-busy", "true");
    this.input.value = "";
    this.typed();
    try {
      const taken = await this.send(text);
      if (!taken && !this.input.value) this.input.value = text;
    } finally {
      this.button.removeAttribute("aria-busy");
      this.typed();
      this.showHints([]);
    }
  }
}

/** The hints that fit what was typed: all while the command itself is typed, then those that continue the word. */
function matching(text) {
  if (!text.startsWith("/") || text.includes("\n")) return [];
  if (COMMAND.startsWith(text)) return HINTS;
  const typed = /^\/release\s+(\w*)$/.exec(text);
  return typed ? HINTS.filter(([name]) => name.startsWith(typed[1]) && name !== typed[1]) : [];
}
