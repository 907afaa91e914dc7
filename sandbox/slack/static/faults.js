// The panel "Break things": the switches of the simulated environment, by group.
import * as api from "./api.js";
import { h, reconcile } from "./dom.js";

export class FaultsPanel {
  /** `list` is filled with switches, `badge` shows how many are on. */
  constructor(list, badge) {
    this.list = list;
    this.badge = badge;
  }

  /** Read all switches and draw them; a sandbox without an environment has none and says so. */
  async load() {
    try {
      const answer = await api.faults();
      this.draw(answer.faults);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      this.draw([]);
    }
  }

  draw(faults) {
    const on = faults.filter((fault) => fault.on).length;
    this.badge.textContent = on ? String(on) : "";
    this.badge.hidden = !on;
    this.badge.setAttribute("aria-label", `${on} switched on`);
    const groups = groupBy(faults);
    const items = [...groups].map(([group, members]) => ({
      key: `group-${group}`,
      signature: JSON.stringify(members),
      build: () =>
        h(
          "fieldset",
          { class: "fault-group" },
          h("legend", {}, title(group)),
          members.map((fault) => this.row(fault)),
        ),
    }));
    if (!items.length)
      items.push({
        key: "none",
        signature: "",
        build: () =>
          h(
            "p",
            { class: "empty" },
            "This workspace runs without a simulated environment, so there is nothing to break.",
          ),
      });
    reconcile(this.list, items);
  }

  row(fault) {
    const box = h("input", {
      type: "checkbox",
      role: "switch",
      checked: fault.on,
      "data-testid": `fault-${fault.name}`,
      id: `fault-${fault.name}`,
      "aria-describedby": `fault-${fault.name}-what`,
    });
    box.addEventListener("change", async () => {
      box.setAttribute("aria-busy", "true");
      try {
        await api.setFault(fault.name, box.checked);
      } catch (error) {
        if (!(error instanceof api.Refused)) throw error;
        box.checked = !box.checked;
        box.closest(".fault").append(h("p", { class: "notice", role: "alert" }, error.message));
        return;
      } finally {
        box.removeAttribute("aria-busy");
      }
      await this.load();
    });
    return h(
      "div",
      { class: `fault ${fault.on ? "on" : ""}`.trim() },
      h(
        "label",
        { for: `fault-${fault.name}` },
        h("span", { class: "fault-title" }, fault.title ?? fault.name),
        h("span", { class: "fault-what", id: `fault-${fault.name}-what` }, fault.description ?? ""),
      ),
      box,
    );
  }
}

function groupBy(faults) {
  const groups = new Map();
  for (const fault of faults) groups.set(fault.group, [...(groups.get(fault.group) ?? []), fault]);
  return groups;
}

const title = (group) => (group ? group[0].toUpperCase() + group.slice(1) : "Other");
