// The blocks of Block Kit that the bot sends, as DOM nodes (docs.slack.dev/reference/block-kit/blocks); one function a type.
import { h } from "./dom.js";
import { button, textInput } from "./elements.js";
import { emoji, isKnown } from "./emoji.js";
import { plain, textObject } from "./mrkdwn.js";

/**
 * Draw blocks in order. `ctx` is the context of elements.js; in a modal it has `errors` (block_id -> text) and
 * `register(block, control)`, which is told of each input.
 */
export function blocks(list, ctx) {
  return list.map((block) => {
    const node = BLOCKS[block.type](block, { ...ctx, blockId: block.block_id });
    node.classList.add("block", `block-${block.type}`);
    node.dataset.blockId = block.block_id;
    return node;
  });
}

function header(block) {
  return h("div", { role: "heading", "aria-level": 3 }, plain(block.text.text, block.text));
}

function section(block, ctx) {
  const text = (one) => h("div", { class: "text" }, textObject(one, ctx.world));
  return h(
    "div",
    {},
    h(
      "div",
      { class: "section-main" },
      block.text && text(block.text),
      block.fields && h("div", { class: "fields" }, block.fields.map(text)),
    ),
    block.accessory && h("div", { class: "accessory" }, button(block.accessory, ctx)),
  );
}

function actions(block, ctx) {
  return h(
    "div",
    {},
    block.elements.map((one) => button(one, ctx)),
  );
}

function context(block, ctx) {
  return h(
    "div",
    {},
    block.elements.map((one) => h("span", { class: "text" }, textObject(one, ctx.world))),
  );
}

function cell(one) {
  if (one.type === "raw_text") return plain(one.text);
  return one.elements.map((line) =>
    h(
      "div",
      {},
      line.elements.map((leaf) => {
        if (leaf.type === "text") return leaf.text;
        return isKnown(leaf.name) ? emoji(leaf.name) : `:${leaf.name}:`;
      }),
    ),
  );
}

function table(block) {
  const settings = block.column_settings ?? [];
  const draw = (row, tag) =>
    h(
      "tr",
      {},
      row.map((one, i) =>
        h(tag, { class: settings[i]?.is_wrapped && "wrapped", scope: tag === "th" && "col" }, cell(one)),
      ),
    );
  const [first, ...rest] = block.rows;
  return h(
    "div",
    {},
    h(
      "div",
      { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Table" },
      h(
        "table",
        {},
        h("thead", {}, draw(first, "th")),
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
  const picture = h("img", { src: ctx.world.fileUrl(block.slack_file), alt: block.alt_text, loading: "lazy" });
  picture.addEventListener("error", () =>
    picture.replaceWith(h("span", { class: "image-missing" }, block.alt_text)),
  );
  return h("figure", {}, block.title && h("figcaption", {}, textObject(block.title, ctx.world)), picture);
}

function input(block, ctx) {
  const error = ctx.errors[block.block_id];
  const id = `field-${block.block_id}-${block.element.action_id}`;
  const control = textInput(block.element);
  control.id = id;
  if (error) {
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", `${id}-error`);
  }
  ctx.register(block, control);
  return h(
    "div",
    {},
    h(
      "label",
      { class: "field-label", for: id },
      plain(block.label.text, block.label),
      block.optional && h("span", { class: "optional" }, " (optional)"),
    ),
    control,
    error && h("p", { class: "field-error", id: `${id}-error`, "data-testid": `error-${block.block_id}` }, error),
  );
}

const BLOCKS = { header, section, actions, context, table, image, input };
