// Emoji by their Slack names: those that the bot and the page use, drawn in emoji.svg, so they look the same on every machine.
import { h } from "./dom.js";

const NAMES = new Set([
  "alarm_clock", "ballot_box_with_check", "bell", "eyes",
  "fast_forward", "grey_question", "hourglass", "hourglass_flowing_sand",
  "information_source", "large_blue_circle", "large_green_circle", "large_yellow_circle",
  "leftwards_arrow_with_hook", "lock", "mag", "no_entry",
  "no_entry_sign", "page_facing_up", "pushpin", "raised_hand",
  "rocket", "rotating_light", "snowflake", "warning",
  "white_check_mark", "white_circle", "x",
]);
const SVG = "http://www.w3.org/2000/svg";
const SHEET = new URL("emoji.svg", import.meta.url).href;

/** Whether an emoji of this name can be drawn; any other name is shown as it was written. */
export const isKnown = (name) => NAMES.has(name);

/** Draw a known emoji; its `:name:` stays in the text, so copying a message gives what Slack would give. */
export function emoji(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SHEET}#${name}`);
  svg.append(use);
  const copied = h("span", { class: "visually-hidden", "aria-hidden": "true" }, `:${name}:`);
  const label = name.replaceAll("_", " ");
  return h("span", { class: "emoji", role: "img", "aria-label": label, title: `:${name}:` }, svg, copied);
}
