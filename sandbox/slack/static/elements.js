// Interactive elements of Block Kit: buttons, menus and inputs. What they do when used comes from the context.
import { append, h } from "./dom.js";
import { plain, textObject } from "./mrkdwn.js";

/**
 * Draw one element. `ctx` has: `world` (names), `blockId`, `act(action)` (send a click; settles when it is answered),
 * `confirm(dialog)` (ask first), `register(blockId, actionId, field)` (keep `{read, write, control}` of an input), and
 * `silent` where a change must not be sent (an input that only counts when the modal is submitted).
 * Returns null for a type that is not known.
 */
export function element(one, ctx) {
  const draw = ELEMENTS[one.type];
  return draw ? draw(one, ctx) : null;
}

/** Run a click with its confirmation dialog and show that it is under way on `node`. */
async function press(node, one, ctx, details) {
  if (node.getAttribute("aria-busy") === "true") return;
  if (one.confirm && !(await ctx.confirm(one.confirm))) return;
  node.setAttribute("aria-busy", "true");
  node.setAttribute("aria-disabled", "true");
  try {
    await ctx.act({ action_id: one.action_id, block_id: ctx.blockId, ...details });
  } finally {
    node.removeAttribute("aria-busy");
    node.removeAttribute("aria-disabled");
  }
}

function button(one, ctx) {
  const node = h(
    "button",
    {
      type: "button",
      class: `btn ${one.style ?? ""}`.trim(),
      "data-testid": `button-${one.action_id}`,
      "data-value": one.value,
      "aria-label": one.accessibility_label,
    },
    h("span", { class: "btn-label" }, textObject(one.text, ctx.world)),
  );
  node.addEventListener("click", () => {
    if (one.url && /^https?:\/\//i.test(one.url)) window.open(one.url, "_blank", "noopener,noreferrer");
    press(node, one, ctx, { value: one.value });
  });
  return node;
}

function overflow(one, ctx) {
  const trigger = h(
    "button",
    {
      type: "button",
      class: "btn icon",
      "aria-haspopup": "menu",
      "aria-label": "More actions",
      "data-testid": `button-${one.action_id}`,
    },
    h("span", { class: "dots", "aria-hidden": "true" }),
  );
  const menu = h("div", { class: "menu", role: "menu", popover: "auto" });
  for (const option of one.options ?? []) {
    const item = h(
      "button",
      {
        type: "button",
        role: "menuitem",
        "data-testid": `option-${one.action_id}`,
        "data-value": option.value,
      },
      h("span", {}, textObject(option.text, ctx.world)),
      option.description && h("small", {}, textObject(option.description, ctx.world)),
    );
    item.addEventListener("click", () => {
      menu.hidePopover();
      press(trigger, one, ctx, { option });
    });
    menu.append(item);
  }
  trigger.addEventListener("click", () => {
    menu.showPopover();
    place(menu, trigger);
    menu.firstElementChild?.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  });
  return h("span", { class: "overflow" }, trigger, menu);
}

const GAP = 4;

function place(menu, trigger) {
  const at = trigger.getBoundingClientRect();
  const below = at.bottom + GAP;
  const fits = below + menu.offsetHeight <= innerHeight;
  menu.style.top = `${fits ? below : Math.max(GAP, at.top - GAP - menu.offsetHeight)}px`;
  menu.style.left = `${Math.max(GAP, Math.min(at.left, innerWidth - menu.offsetWidth - GAP))}px`;
}

const optionText = (option) => option.text?.text ?? option.value;

function choices(one, ctx) {
  if (one.type.endsWith("users_select")) {
    return [...ctx.world.people.values()]
      .filter((person) => !person.bot)
      .map((person) => ({ value: person.id, text: { text: person.name } }));
  }
  if (/(channels|conversations)_select$/.test(one.type)) {
    return ctx.world.channels.map((channel) => ({ value: channel.id, text: { text: `#${channel.name}` } }));
  }
  return one.options ?? (one.option_groups ?? []).flatMap((group) => group.options);
}

/** The key under which Slack reports what was chosen in a select of this type. */
const SELECTED = {
  static_select: "selected_option",
  external_select: "selected_option",
  users_select: "selected_user",
  channels_select: "selected_channel",
  conversations_select: "selected_conversation",
};

function select(one, ctx) {
  const all = choices(one, ctx);
  const toOption = (option) => h("option", { value: option.value }, optionText(option));
  const node = h(
    "select",
    {
      class: "select",
      "data-testid": `select-${one.action_id}`,
      "aria-label": one.placeholder?.text ?? "Choose",
    },
    h("option", { value: "", disabled: true, selected: true }, one.placeholder?.text ?? "Choose an option"),
    one.option_groups
      ? one.option_groups.map((group) => h("optgroup", { label: group.label?.text }, group.options.map(toOption)))
      : all.map(toOption),
  );
  const first = one.initial_option?.value ?? one.initial_user ?? one.initial_channel ?? one.initial_conversation;
  if (first !== undefined) node.value = first;
  const key = SELECTED[one.type];
  const read = () => {
    const option = all.find((candidate) => candidate.value === node.value);
    if (!option) return { [key]: null };
    return { [key]: key === "selected_option" ? option : option.value };
  };
  const write = (value) => {
    node.value = value?.[key]?.value ?? value?.[key] ?? "";
  };
  ctx.register?.(ctx.blockId, one.action_id, { read, write, control: node });
  if (!ctx.silent) {
    node.addEventListener("change", () => press(node, one, ctx, { option: read() }));
  }
  return node;
}

function choiceGroup(one, ctx) {
  const many = one.type !== "radio_buttons";
  const initial = new Set((one.initial_options ?? [one.initial_option]).filter(Boolean).map((option) => option.value));
  const name = `group-${one.action_id}-${Math.random().toString(36).slice(2)}`;
  const boxes = [];
  const options = choices(one, ctx);
  const node = h("div", {
    class: "choices",
    role: many ? "group" : "radiogroup",
    "data-testid": `choices-${one.action_id}`,
  });
  for (const option of options) {
    const box = h("input", {
      type: many ? "checkbox" : "radio",
      name,
      value: option.value,
      checked: initial.has(option.value),
    });
    boxes.push(box);
    node.append(
      h(
        "label",
        { class: "choice" },
        box,
        h(
          "span",
          {},
          textObject(option.text, ctx.world),
          option.description && h("small", {}, textObject(option.description, ctx.world)),
        ),
      ),
    );
  }
  const chosen = () => options.filter((_, i) => boxes[i].checked);
  const read = () => (many ? { selected_options: chosen() } : { selected_option: chosen()[0] ?? null });
  const write = (value) => {
    const values = new Set(
      [value?.selected_options ?? value?.selected_option]
        .flat()
        .filter(Boolean)
        .map((option) => option.value),
    );
    for (const box of boxes) box.checked = values.has(box.value);
  };
  ctx.register?.(ctx.blockId, one.action_id, { read, write, control: node });
  if (!ctx.silent) node.addEventListener("change", () => press(node, one, ctx, { option: read() }));
  return node;
}

const INPUT_TYPES = {
  plain_text_input: "text",
  email_text_input: "email",
  url_text_input: "url",
  number_input: "number",
  datepicker: "date",
  timepicker: "time",
};

function textInput(one, ctx) {
  const shared = {
    class: "input",
    placeholder: one.placeholder?.text,
    minlength: one.min_length,
    maxlength: one.max_length,
    "data-testid": `input-${one.action_id}`,
    autocomplete: "off",
  };
  const node = one.multiline
    ? h("textarea", { ...shared, rows: 4 })
    : h("input", { ...shared, type: INPUT_TYPES[one.type] });
  node.value = one.initial_value ?? one.initial_date ?? one.initial_time ?? "";
  const key = { datepicker: "selected_date", timepicker: "selected_time" }[one.type];
  const read = () => (key ? { [key]: node.value || null } : node.value || null);
  const write = (value) => {
    node.value = (key ? value?.[key] : value) ?? "";
  };
  ctx.register?.(ctx.blockId, one.action_id, { read, write, control: node });
  if (!ctx.silent) node.addEventListener("change", () => press(node, one, ctx, { value: node.value }));
  return node;
}

/** An image element, as accessory or in a context block. */
export function image(one, ctx) {
  const missing = h("span", { class: "image-missing" }, one.alt_text || "image");
  const address = one.image_url ?? ctx.world.fileUrl(one.slack_file);
  if (!address || !/^(https?:\/\/|\/)/i.test(address)) return missing;
  const node = h("img", { src: address, alt: one.alt_text ?? "", loading: "lazy" });
  node.addEventListener("error", () => node.replaceWith(missing));
  return node;
}

const ELEMENTS = {
  button,
  overflow,
  image,
  static_select: select,
  users_select: select,
  channels_select: select,
  conversations_select: select,
  radio_buttons: choiceGroup,
  checkboxes: choiceGroup,
  multi_static_select: choiceGroup,
  plain_text_input: textInput,
  email_text_input: textInput,
  url_text_input: textInput,
  number_input: textInput,
  datepicker: textInput,
  timepicker: textInput,
};

/** Ask with a `confirm` object before an action; resolves to whether the person agreed. */
export function confirmDialog(dialog, world) {
  return new Promise((resolve) => {
    const ok = h(
      "button",
      { type: "button", class: `btn ${dialog.style === "danger" ? "danger" : "primary"}`, "data-testid": "confirm-ok" },
      plain(dialog.confirm?.text ?? "Yes"),
    );
    const no = h(
      "button",
      { type: "button", class: "btn", "data-testid": "confirm-cancel" },
      plain(dialog.deny?.text ?? "Cancel"),
    );
    const node = h("dialog", { class: "dialog small", "data-testid": "confirm", "aria-label": dialog.title?.text });
    append(node, [
      h("header", {}, h("h2", {}, plain(dialog.title?.text ?? "Are you sure?"))),
      h("div", { class: "dialog-body" }, textObject(dialog.text, world)),
      h("footer", {}, no, ok),
    ]);
    let agreed = false;
    ok.addEventListener("click", () => {
      agreed = true;
      node.close();
    });
    no.addEventListener("click", () => node.close());
    node.addEventListener("close", () => {
      node.remove();
      resolve(agreed);
    });
    document.body.append(node);
    node.showModal();
    ok.focus();
  });
}
