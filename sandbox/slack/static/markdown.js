// The standard Markdown of a `markdown` block as DOM nodes: the constructs that Slack documents for it.
import { append, h, link } from "./dom.js";
import { plain } from "./mrkdwn.js";

const FENCE = /^\s*```/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s*([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const QUOTE = /^\s*>\s?/;
const ROW = /^\s*\|.*\|\s*$/;
const ALIGNMENT = /^\s*\|(?:\s*:?-+:?\s*\|)+\s*$/;
const INLINE =
  /`([^`\n]+)`|\[([^\]\n]+)\]\(([^\s()]+)\)|(https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"*_~`])|(\*\*|__)(?=\S)(.+?\S|\S)\5|(~~)(?=\S)(.+?)~~|([*_])(?=\S)([^*_\n]*[^\s*_])\9(?!\w)/g;

/** Nodes of a whole Markdown text. */
export function markdown(text) {
  return blocks(text.replaceAll("\r\n", "\n").split("\n"));
}

function blocks(lines) {
  const nodes = [];
  let i = 0;
  const run = (matches) => {
    const from = i;
    while (i < lines.length && matches(lines[i])) i += 1;
    return lines.slice(from, i);
  };
  while (i < lines.length) {
    const line = lines[i];
    if (!line.trim()) {
      i += 1;
    } else if (FENCE.test(line)) {
      i += 1;
      nodes.push(h("pre", {}, run((next) => !FENCE.test(next)).join("\n")));
      i += 1;
    } else if (HEADING.test(line)) {
      const [, marks, title] = HEADING.exec(line);
      nodes.push(
        h(
          "p",
          { class: `md-heading level-${marks.length}`, role: "heading", "aria-level": marks.length },
          inline(title),
        ),
      );
      i += 1;
    } else if (RULE.test(line)) {
      nodes.push(h("hr"));
      i += 1;
    } else if (QUOTE.test(line)) {
      nodes.push(h("blockquote", {}, blocks(run((next) => QUOTE.test(next)).map((next) => next.replace(QUOTE, "")))));
    } else if (ROW.test(line) && ALIGNMENT.test(lines[i + 1] ?? "")) {
      nodes.push(table(run((next) => ROW.test(next))));
    } else if (ITEM.test(line)) {
      nodes.push(list(run((next) => ITEM.test(next))));
    } else {
      nodes.push(h("p", {}, paragraph(run((next, ordinary = /^(?!\s*$)/) => ordinary.test(next) && !special(next)))));
    }
  }
  return nodes;
}

const special = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));

function paragraph(lines) {
  return lines.flatMap((line, i) => (i ? [h("br"), ...inline(line)] : inline(line)));
}

function list(lines) {
  const items = lines.map((line) => ITEM.exec(line));
  const root = h("div", { class: "md-list" });
  for (const [, indent, number, text] of items) {
    const depth = Math.min(Math.floor(indent.length / 2), 4);
    const task = /^\[([ xX])\]\s+(.*)$/.exec(text);
    const mark = task ? (task[1] === " " ? "☐" : "☑") : number ? `${number}.` : "•";
    root.append(
      h(
        "div",
        { class: `bullet depth-${depth}` },
        h("span", { class: "mark" }, `${mark} `),
        h("span", {}, inline(task ? task[2] : text)),
      ),
    );
  }
  return root;
}

function table(lines) {
  const cells = (line) =>
    line
      .trim()
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
  const aligns = cells(lines[1]).map((cell) =>
    /^:.*:$/.test(cell) ? "center" : cell.endsWith(":") ? "right" : "left",
  );
  const row = (line, tag) =>
    h(
      "tr",
      {},
      cells(line).map((cell, i) =>
        h(tag, { class: `align-${aligns[i] ?? "left"}`, scope: tag === "th" && "col" }, inline(cell)),
      ),
    );
  return h(
    "div",
    { class: "table-scroll" },
    h(
      "table",
      {},
      h("thead", {}, row(lines[0], "th")),
      h(
        "tbody",
        {},
        lines.slice(2).map((line) => row(line, "td")),
      ),
    ),
  );
}

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, label, target, url, , bold, , struck, , italic] = match;
    if (italic !== undefined && /\w/.test(text[match.index - 1] ?? "")) continue;
    nodes.push(...plain(text.slice(from, match.index)));
    if (code !== undefined) nodes.push(h("code", {}, code));
    else if (target !== undefined) nodes.push(link(target, inline(label)) ?? whole);
    else if (url !== undefined) nodes.push(link(url, url));
    else if (bold !== undefined) nodes.push(append(h("strong"), inline(bold)));
    else if (struck !== undefined) nodes.push(append(h("del"), inline(struck)));
    else nodes.push(append(h("em"), inline(italic)));
    from = match.index + whole.length;
  }
  nodes.push(...plain(text.slice(from)));
  return nodes;
}
