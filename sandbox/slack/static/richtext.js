// `rich_text` blocks and the rich_text cells of tables.
import { append, h, link } from "./dom.js";
import { emoji, known, withDrawnCharacters } from "./emoji.js";
import { channelMention, moment, userMention } from "./mrkdwn.js";

/** Nodes of a rich_text object (`{type: "rich_text", elements: [...]}`). */
export function richText(block, world) {
  return (block.elements ?? []).map((element) => group(element, world));
}

function group(element, world) {
  const leaves = () => (element.elements ?? []).map((one) => leaf(one, world));
  switch (element.type) {
    case "rich_text_section":
      return h("div", { class: "rich-section" }, leaves());
    case "rich_text_preformatted":
      return h("pre", {}, leaves());
    case "rich_text_quote":
      return h("blockquote", {}, leaves());
    case "rich_text_list": {
      const depth = Math.min(element.indent ?? 0, 4);
      return h(
        "div",
        { class: "md-list" },
        (element.elements ?? []).map((item, i) => {
          const mark = element.style === "ordered" ? `${(element.offset ?? 0) + i + 1}. ` : "• ";
          return h(
            "div",
            { class: `bullet depth-${depth}` },
            h("span", { class: "mark" }, mark),
            h(
              "span",
              {},
              (item.elements ?? []).map((one) => leaf(one, world)),
            ),
          );
        }),
      );
    }
    default:
      return h("div", { class: "rich-section" }, `[${element.type}]`);
  }
}

const LEAVES = {
  text: (one) => withDrawnCharacters(one.text ?? ""),
  link: (one) => link(one.url ?? "", one.text || one.url) ?? (one.text || one.url || ""),
  user: (one, world) => userMention(one.user_id, world),
  channel: (one, world) => channelMention(one.channel_id, world),
  usergroup: (one, world) =>
    h("span", { class: "mention" }, `@${world.groupName(one.usergroup_id) ?? one.usergroup_id}`),
  broadcast: (one) => h("span", { class: "mention broadcast" }, `@${one.range}`),
  emoji: (one) => (known(one.name) ? emoji(one.name) : `:${one.name}:`),
  date: (one) => moment(one.timestamp, one.format ?? "{date}"),
  color: (one) => one.value,
};

function leaf(one, world) {
  const draw = LEAVES[one.type];
  const nodes = draw ? [draw(one, world)].flat() : [`[${one.type}]`];
  const style = one.style ?? {};
  return [
    ["code", "code"],
    ["strike", "del"],
    ["italic", "em"],
    ["bold", "strong"],
  ]
    .filter(([name]) => style[name])
    .reduce((inner, [, tag]) => [append(h(tag), inner)], nodes);
}
