// Emoji by their Slack names. The common ones are drawn from emoji.svg, so they look the same on every machine.
import { h } from "./dom.js";

/** Slack name -> character. */
const CHARACTERS = {
  white_check_mark: "✅",
  heavy_check_mark: "✔️",
  ballot_box_with_check: "☑️",
  x: "❌",
  warning: "⚠️",
  hourglass_flowing_sand: "⏳",
  hourglass: "⌛",
  arrows_counterclockwise: "🔄",
  rocket: "🚀",
  rotating_light: "🚨",
  no_entry: "⛔",
  no_entry_sign: "🚫",
  large_green_circle: "🟢",
  red_circle: "🔴",
  large_yellow_circle: "🟡",
  large_orange_circle: "🟠",
  large_blue_circle: "🔵",
  white_circle: "⚪",
  black_circle: "⚫",
  eyes: "👀",
  memo: "📝",
  pencil: "📝",
  lock: "🔒",
  unlock: "🔓",
  shield: "🛡️",
  rewind: "⏪",
  stopwatch: "⏱️",
  alarm_clock: "⏰",
  bust_in_silhouette: "👤",
  busts_in_silhouette: "👥",
  tada: "🎉",
  question: "❓",
  grey_question: "❔",
  exclamation: "❗",
  grey_exclamation: "❕",
  heavy_minus_sign: "➖",
  heavy_plus_sign: "➕",
  mag: "🔍",
  repeat: "🔁",
  hand: "✋",
  raised_hand: "✋",
  octagonal_sign: "🛑",
  package: "📦",
  wrench: "🔧",
  hammer_and_wrench: "🛠️",
  bell: "🔔",
  zzz: "💤",
  fire: "🔥",
  link: "🔗",
  page_facing_up: "📄",
  clipboard: "📋",
  calendar: "📅",
  key: "🔑",
  snowflake: "❄️",
  pushpin: "📌",
  leftwards_arrow_with_hook: "↩️",
  arrow_right: "➡️",
  information_source: "ℹ️",
  bulb: "💡",
  "+1": "👍",
  thumbsup: "👍",
  "-1": "👎",
  thumbsdown: "👎",
  construction: "🚧",
  robot_face: "🤖",
  wave: "👋",
  chart_with_upwards_trend: "📈",
  point_right: "👉",
  black_square_button: "🔲",
  white_large_square: "⬜",
  double_vertical_bar: "⏸️",
  arrow_forward: "▶️",
  checkered_flag: "🏁",
  ice_cube: "🧊",
};

/** Slack name -> symbol in emoji.svg (several names may share one drawing). */
const DRAWN = {
  white_check_mark: "white_check_mark",
  heavy_check_mark: "heavy_check_mark",
  ballot_box_with_check: "white_check_mark",
  x: "x",
  warning: "warning",
  hourglass_flowing_sand: "hourglass",
  hourglass: "hourglass",
  arrows_counterclockwise: "arrows_counterclockwise",
  rocket: "rocket",
  rotating_light: "rotating_light",
  no_entry: "no_entry",
  no_entry_sign: "no_entry_sign",
  large_green_circle: "circle_green",
  red_circle: "circle_red",
  large_yellow_circle: "circle_yellow",
  large_orange_circle: "circle_orange",
  large_blue_circle: "circle_blue",
  white_circle: "circle_white",
  black_circle: "circle_black",
  eyes: "eyes",
  memo: "memo",
  pencil: "memo",
  lock: "lock",
  unlock: "unlock",
  shield: "shield",
  rewind: "rewind",
  stopwatch: "stopwatch",
  alarm_clock: "stopwatch",
  bust_in_silhouette: "bust",
  busts_in_silhouette: "busts",
  tada: "tada",
  question: "question",
  grey_question: "grey_question",
  exclamation: "exclamation",
  grey_exclamation: "exclamation",
  heavy_minus_sign: "minus",
  heavy_plus_sign: "plus",
  mag: "mag",
  repeat: "repeat",
  hand: "hand",
  raised_hand: "hand",
  octagonal_sign: "octagonal_sign",
  package: "package",
  wrench: "wrench",
  hammer_and_wrench: "wrench",
  bell: "bell",
  zzz: "zzz",
  fire: "fire",
  link: "link",
  page_facing_up: "page",
  clipboard: "page",
  calendar: "calendar",
  key: "key",
  snowflake: "snowflake",
  ice_cube: "snowflake",
  pushpin: "pushpin",
  leftwards_arrow_with_hook: "hook_left",
  arrow_right: "arrow_right",
  information_source: "info",
  checkered_flag: "flag",
  double_vertical_bar: "pause",
  arrow_forward: "play",
  white_large_square: "square",
};

const NAMES = new Map();
for (const [name, character] of Object.entries(CHARACTERS)) {
  if (name in DRAWN && !NAMES.has(character)) NAMES.set(character, name);
}
// A character may come with or without its variation selector, so match the bare one and swallow the selector.
const BARE = new Map([...NAMES].map(([character, name]) => [character.replace("\uFE0F", ""), name]));
const ANY_DRAWN = new RegExp(`(${[...BARE.keys()].join("|")})\\uFE0F?`, "gu");
const SVG = "http://www.w3.org/2000/svg";
const SHEET = new URL("emoji.svg", import.meta.url).href;

export const known = (name) => Object.hasOwn(CHARACTERS, name);

/** Draw a known emoji; its `:name:` stays in the text, so copying a message gives what Slack would give. */
export function emoji(name) {
  const label = name.replaceAll("_", " ");
  if (!Object.hasOwn(DRAWN, name)) {
    return h("span", { class: "emoji", role: "img", "aria-label": label, title: `:${name}:` }, CHARACTERS[name]);
  }
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SHEET}#${DRAWN[name]}`);
  svg.append(use);
  const copied = h("span", { class: "visually-hidden", "aria-hidden": "true" }, `:${name}:`);
  return h("span", { class: "emoji", role: "img", "aria-label": label, title: `:${name}:` }, svg, copied);
}

/** Nodes of a text in which the emoji characters that we have a drawing for are replaced by it. */
export function withDrawnCharacters(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(ANY_DRAWN)) {
    if (match.index > from) nodes.push(text.slice(from, match.index));
    nodes.push(emoji(BARE.get(match[1])));
    from = match.index + match[0].length;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}
