// Slack's mrkdwn and plain text as DOM nodes (docs.slack.dev/messaging/formatting-message-text).
import { append, h, link } from "./dom.js";
import { emoji, isKnown } from "./emoji.js";

const TOKEN =
  /<([^<>\n]+)>|`([^`\n]+)`|:([a-z0-9_+'-]+):(?::skin-tone-[2-6]:)?|(https?:\/\/[^\s<>|]*[^\s<>|.,;:!?)\]'"*_~`])|([*_~])/giu;
const EMOJI = /:([a-z0-9_+'-]+):/giu;
const STYLE = { "*": "strong", _: "em", "~": "del" };
const WORD = /[\p{L}\p{N}]/u;
const BULLET = /^(\s*)([•◦▪‣–-]|\d{1,2}[.)])\s+(.*)$/u;
const QUOTE = /^(?:&gt;|>) ?/;

/** Undo Slack's three escapes; done last, on text that is not parsed again. */
function unescape(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** Nodes of a plain_text object's text: only emoji names are special there. */
export function plain(text, { emoji: withEmoji = true } = {}) {
  if (!withEmoji) return [text];
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(EMOJI)) {
    if (!isKnown(match[1])) continue;
    nodes.push(text.slice(from, match.index), emoji(match[1]));
    from = match.index + match[0].length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

/** Nodes of a text object of either type, as Block Kit uses them. */
export function textObject(text, world) {
  return text.type === "mrkdwn" ? mrkdwn(text.text, world) : plain(text.text, text);
}

/** Nodes of a mrkdwn text; `world` gives the names of people, channels and groups. */
export function mrkdwn(text, world) {
  const nodes = [];
  const parts = text.split(/```([\s\S]*?)```/);
  parts.forEach((part, i) => {
    if (i % 2 === 1) {
      nodes.push(h("pre", {}, preformatted(part.replace(/^\n/, ""), world)));
      return;
    }
    const before = i > 0 ? part.replace(/^\n/, "") : part;
    const trimmed = i < parts.length - 1 ? before.replace(/\n$/, "") : before;
    if (trimmed) nodes.push(...lines(trimmed.split("\n"), world));
  });
  return nodes;
}

function preformatted(text, world) {
  return text.split(/(<[^<>\n]+>)/).map((part, i) => (i % 2 === 1 ? angle(part.slice(1, -1), world) : unescape(part)));
}

function lines(all, world) {
  const nodes = [];
  let quote = null;
  let needsBreak = false;
  for (let i = 0; i < all.length; i += 1) {
    const line = all[i];
    if (/^(?:&gt;|>){3}/.test(line)) {
      const rest = [line.replace(/^(?:&gt;|>){3} ?/, ""), ...all.slice(i + 1)];
      nodes.push(h("blockquote", {}, lines(rest, world)));
      return nodes;
    }
    if (QUOTE.test(line)) {
      if (quote) quote.append(h("br"));
      else nodes.push((quote = h("blockquote")));
      append(quote, inline(line.replace(QUOTE, ""), world));
      needsBreak = false;
      continue;
    }
    quote = null;
    const bullet = BULLET.exec(line);
    if (bullet) {
      const depth = Math.min(Math.floor(bullet[1].length / 2), 4);
      const mark = h("span", { class: "mark" }, `${bullet[2]} `);
      nodes.push(h("div", { class: `bullet depth-${depth}` }, mark, h("span", {}, inline(bullet[3], world))));
      needsBreak = false;
      continue;
    }
    if (needsBreak) nodes.push(h("br"));
    nodes.push(...inline(line, world));
    needsBreak = true;
  }
  return nodes;
}

/** Nodes of one line of mrkdwn: styles, code, links, mentions, dates and emoji. */
function inline(text, world) {
  const nodes = [];
  let from = 0;
  const flush = (to) => {
    if (to > from) nodes.push(unescape(text.slice(from, to)));
  };
  const take = (start, end, made) => {
    flush(start);
    nodes.push(...[made].flat());
    from = end;
    TOKEN_AT.lastIndex = end;
  };
  const TOKEN_AT = new RegExp(TOKEN);
  for (let match = TOKEN_AT.exec(text); match; match = TOKEN_AT.exec(text)) {
    const [whole, inAngles, code, name, url, mark] = match;
    const end = match.index + whole.length;
    if (inAngles !== undefined) take(match.index, end, angle(inAngles, world));
    else if (code !== undefined) take(match.index, end, h("code", {}, preformatted(code, world)));
    else if (name !== undefined) {
      if (isKnown(name)) take(match.index, end, emoji(name));
      else TOKEN_AT.lastIndex = end - 1; // the closing colon may open the next name
    } else if (url !== undefined) take(match.index, end, link(unescape(url), unescape(url)));
    else {
      const close = closing(text, match.index, mark);
      if (close < 0) TOKEN_AT.lastIndex = match.index + 1;
      else take(match.index, close + 1, h(STYLE[mark], {}, inline(text.slice(match.index + 1, close), world)));
    }
  }
  flush(text.length);
  return nodes;
}

/** Where the style opened at `open` ends, or -1: marks count at the edges of words only, as in Slack. */
function closing(text, open, mark) {
  if (open > 0 && WORD.test(text[open - 1])) return -1;
  if (open + 1 >= text.length || /\s/.test(text[open + 1])) return -1;
  for (let i = open + 1; i < text.length; i += 1) {
    if (text[i] === "`" || text[i] === "<") {
      const end = text.indexOf(text[i] === "`" ? "`" : ">", i + 1);
      if (end > 0) i = end;
    } else if (text[i] === mark && i > open + 1 && !/\s/.test(text[i - 1]) && !WORD.test(text[i + 1] ?? "")) {
      return i;
    }
  }
  return -1;
}

const mention = (text, extra = "") => h("span", { class: `mention ${extra}`.trim() }, text);

/** What stands between < and >: a mention, a date, a link, or else just those characters. */
function angle(inner, world) {
  const bar = inner.indexOf("|");
  const target = bar < 0 ? inner : inner.slice(0, bar);
  const label = bar < 0 ? "" : unescape(inner.slice(bar + 1));
  if (/^@[UW][A-Z0-9]+$/.test(target)) {
    const id = target.slice(1);
    return mention(`@${world.nameOf(id) ?? id}`, id === world.me ? "me" : "");
  }
  if (/^#C[A-Z0-9]+$/.test(target)) return mention(`#${world.channelName(target.slice(1)) ?? (label || target.slice(1))}`);
  if (/^!(here|channel|everyone)$/.test(target)) return mention(`@${target.slice(1)}`, "broadcast");
  if (/^!subteam\^/.test(target)) return mention(label || `@${world.groupName(target.slice(9)) ?? target.slice(9)}`);
  if (target.startsWith("!date^")) return date(target, label);
  const address = unescape(target);
  const made = link(address, label || address.replace(/^mailto:/i, ""));
  return made ?? unescape(`<${inner}>`);
}

const PARTS = {
  date: { day: "numeric", month: "long", year: "numeric" },
  date_num: { day: "2-digit", month: "2-digit", year: "numeric" },
  date_short: { day: "numeric", month: "short", year: "numeric" },
  date_long: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
  time: { hour: "2-digit", minute: "2-digit" },
  time_secs: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

/** A moment in one of Slack's formats, in the zone of the person who reads it; "en-GB" as the page is in English. */
export function moment(seconds, format) {
  const at = new Date(seconds * 1000);
  return format.replace(/\{(\w+)\}/g, (whole, name) => {
    if (name.endsWith("_pretty")) {
      const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
      const near = { 0: "today", 1: "yesterday", [-1]: "tomorrow" }[days];
      return near ?? moment(seconds, `{${name.replace("_pretty", "")}}`);
    }
    return PARTS[name] ? new Intl.DateTimeFormat("en-GB", PARTS[name]).format(at) : whole;
  });
}

const LAST_SECOND = 8_640_000_000_000; // what a Date can hold

function date(target, fallback) {
  const [, seconds, format, url] = target.split("^");
  const at = Number(seconds);
  if (!(Math.abs(at) < LAST_SECOND) || !format) return fallback || `<${target}>`;
  const exact = { datetime: new Date(at * 1000).toISOString(), title: moment(at, "{date_long}, {time_secs}") };
  const shown = h("time", exact, moment(at, unescape(format)));
  return (url && link(unescape(url), shown)) || shown;
}
