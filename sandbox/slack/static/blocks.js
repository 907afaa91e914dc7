// Block Kit blocks as DOM nodes (docs.slack.dev/reference/block-kit/blocks); one function a type.
import { h } from "./dom.js";
import { element, image as imageElement } from "./elements.js";
import { markdown } from "./markdown.js";
import { plain, textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";

/**
 * Draw blocks in order. `ctx` is the context of elements.js with `surface` ("message" or "modal") and, in a modal,
 * `errors` (block_id -> text). A type that is unknown or not allowed here becomes a box that says so.
 */
export function blocks(list, ctx) {
  return (list ?? []).map((block) => {
    const here = { ...ctx, blockId: block.block_id };
    const node = allowed(block, ctx) ? BLOCKS[block.type](block, here) : unsupported(block, ctx);
    node.classList.add("block", `block-${block.type}`);
    if (block.block_id) node.dataset.blockId = block.block_id;
    return node;
  });
}

function allowed(block, ctx) {
  return Object.hasOwn(BLOCKS, block.type) && (block.type !== "alert" || ctx.surface === "modal");
}

function unsupported(block, ctx) {
  const why = Object.hasOwn(BLOCKS, block.type) ? `not allowed in a ${ctx.surface}` : "unsupported block";
  return h(
    "div",
    { class: "unsupported", "data-testid": "unsupported-block" },
    h("strong", {}, String(block.type)),
    ` · ${why}`,
  );
}

function header(block) {
  return h(
    "div",
    { class: `level-${block.level ?? 1}`, role: "heading", "aria-level": 3 },
    plain(block.text?.text ?? "", block.text),
  );
}

function section(block, ctx) {
  const main = h(
    "div",
    { class: "section-main" },
    block.text && h("div", { class: "text" }, textObject(block.text, ctx.world)),
    block.fields &&
      h(
        "div",
        { class: "fields" },
        block.fields.map((field) => h("div", { class: "text" }, textObject(field, ctx.world))),
      ),
  );
  const side = block.accessory && (element(block.accessory, ctx) ?? unsupported(block.accessory, ctx));
  return h("div", {}, main, side && h("div", { class: `accessory accessory-${block.accessory.type}` }, side));
}

function actions(block, ctx) {
  return h(
    "div",
    {},
    (block.elements ?? []).map((one) => element(one, ctx) ?? unsupported(one, ctx)),
  );
}

function context(block, ctx) {
  return h(
    "div",
    {},
    (block.elements ?? []).map((one) =>
      one.type === "image" ? imageElement(one, ctx) : h("span", { class: "text" }, textObject(one, ctx.world)),
    ),
  );
}

function cell(one, ctx) {
  if (one.type === "rich_text") return richText(one, ctx.world);
  return plain(String(one.text ?? one.value ?? ""));
}

function table(block, ctx) {
  const settings = block.column_settings ?? [];
  const draw = (row, tag) =>
    h(
      "tr",
      {},
      row.map((one, i) => {
        const align = settings[i]?.align ?? (one.type === "raw_number" ? "right" : "left");
        const wrap = settings[i]?.is_wrapped ? "wrapped" : "";
        return h(tag, { class: `align-${align} ${wrap}`.trim(), scope: tag === "th" && "col" }, cell(one, ctx));
      }),
    );
  const [first, ...rest] = block.rows ?? [];
  return h(
    "div",
    {},
    h(
      "div",
      { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Table" },
      h(
        "table",
        {},
        first && h("thead", {}, draw(first, "th")),
        h(
          "tbody",
          {},
          rest.map((row) => draw(row, "td")),
        ),
      ),
    ),
  );
}

function image(block, ctx) {
  return h(
    "figure",
    {},
    block.title && h("figcaption", {}, textObject(block.title, ctx.world)),
    imageElement(block, ctx),
  );
}

function input(block, ctx) {
  const one = block.element ?? {};
  const error = ctx.errors?.[block.block_id];
  let field;
  const control =
    element(one, {
      ...ctx,
      silent: !block.dispatch_action,
      register: (blockId, actionId, made) => {
        field = made.control;
        ctx.register?.(blockId, actionId, { ...made, optional: Boolean(block.optional), one });
      },
    }) ?? unsupported(one, ctx);
  const id = `field-${ctx.blockId}-${one.action_id}`;
  const node = h(
    "div",
    { class: error ? "invalid" : "" },
    h(
      "label",
      { class: "field-label", for: id, id: `${id}-label` },
      plain(block.label?.text ?? "", block.label),
      block.optional && h("span", { class: "optional" }, " (optional)"),
    ),
    control,
    error && h("p", { class: "field-error", id: `${id}-error`, "data-testid": `error-${block.block_id}` }, error),
    block.hint && h("p", { class: "field-hint", id: `${id}-hint` }, plain(block.hint.text, block.hint)),
  );
  if (field) {
    field.id = id;
    field.removeAttribute("aria-label");
    if (field.tagName === "DIV") field.setAttribute("aria-labelledby", `${id}-label`);
    if (error) field.setAttribute("aria-invalid", "true");
    const described = [error && `${id}-error`, block.hint && `${id}-hint`].filter(Boolean).join(" ");
    if (described) field.setAttribute("aria-describedby", described);
  }
  return node;
}

function alert(block, ctx) {
  const level = ["info", "warning", "error", "success"].includes(block.level) ? block.level : "default";
  return h(
    "div",
    { class: `level-${level}`, role: "note" },
    h("span", { class: "text" }, textObject(block.text, ctx.world)),
  );
}

const BLOCKS = {
  header,
  section,
  actions,
  context,
  table,
  image,
  input,
  alert,
  divider: () => h("hr"),
  rich_text: (block, ctx) => h("div", { class: "text" }, richText(block, ctx.world)),
  markdown: (block) => h("div", { class: "text" }, markdown(block.text ?? "")),
};
