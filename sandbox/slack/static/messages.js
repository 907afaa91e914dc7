// Message rows and lists: who, when, what, and the thread under it.
import { blocks } from "./blocks.js";
import { append, h, reconcile } from "./dom.js";
import { confirmDialog } from "./elements.js";
import { emoji } from "./emoji.js";
import { moment, mrkdwn } from "./mrkdwn.js";

const COMPACT_SECONDS = 300; // messages of one author closer than this share one heading

/** A square with the initials of a person, or the mark of the bot. */
export function avatar(author, size = "") {
  const node = h("span", { class: `avatar ${size} ${author.kind}`.trim(), "aria-hidden": "true" });
  if (author.color) node.style.backgroundColor = author.color;
  if (author.kind === "app") return append(node, [emoji("rocket")]);
  return append(node, [
    author.name
      .split(/\s+/)
      .map((word) => word[0])
      .slice(0, 2)
      .join("")
      .toUpperCase(),
  ]);
}

function authorOf(message, world) {
  if (message.user === "USLACKBOT") return { key: "slackbot", name: "Slackbot", kind: "slackbot" };
  const person = world.people.get(message.user);
  if (message.bot_id || message.user === world.bot?.id) {
    return { key: message.user, name: message.username || world.bot.name, kind: "app" };
  }
  return {
    key: message.user,
    name: person?.name ?? message.username ?? message.user,
    kind: "person",
    color: person?.avatar_color,
  };
}

/**
 * Draw `messages` into `list` and keep what did not change. `options`: `world`, `channel`, `thread` (whether this is
 * the thread pane), `act(message, action)`, `openThread(ts)`.
 */
export function drawMessages(list, messages, options) {
  const { world } = options;
  const items = [];
  let lastDay = null;
  let last = null;
  for (const message of messages) {
    const day = moment(Number(message.ts), "{date_long_pretty}");
    if (!options.thread && day !== lastDay) {
      items.push({
        key: `day-${day}`,
        signature: day,
        build: () => h("div", { class: "day", role: "separator" }, h("span", {}, day[0].toUpperCase() + day.slice(1))),
      });
      last = null;
    }
    lastDay = day;
    const author = authorOf(message, world);
    const compact =
      last !== null &&
      last.author === author.key &&
      !message.ephemeral &&
      !message.pinned &&
      !last.message.ephemeral &&
      !(last.message.reply_count || last.replies) &&
      Number(message.ts) - Number(last.message.ts) < COMPACT_SECONDS;
    const replies = options.thread ? [] : world.replies(options.channel, message.ts);
    const notice = world.notices.get(message.ts);
    const facts = { author, compact, notice, replies, firstOfThread: options.thread && message === messages[0] };
    const repliers = replies.map((one) => one.ts);
    items.push({
      key: message.ts,
      signature: JSON.stringify([message, compact, notice, repliers, world.me, facts.firstOfThread && messages.length]),
      build: () => row(message, facts, options),
    });
    if (facts.firstOfThread && messages.length > 1) {
      const count = messages.filter((one) => one !== message && !one.ephemeral).length;
      items.push({
        key: "count",
        signature: String(count),
        build: () => h("div", { class: "reply-divider" }, h("span", {}, plural(count, "reply", "replies"))),
      });
    }
    last = { author: author.key, message, replies: replies.length };
  }
  reconcile(list, items);
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

function row(message, { author, compact, notice, replies }, options) {
  const { world } = options;
  const seconds = Number(message.ts);
  const time = h(
    "time",
    {
      class: "time",
      datetime: new Date(seconds * 1000).toISOString(),
      title: moment(seconds, "{date_long}, {time_secs}"),
    },
    moment(seconds, "{time}"),
  );
  const heading =
    !compact &&
    h(
      "div",
      { class: "heading" },
      h("span", { class: "author" }, author.name),
      author.kind === "app" && h("span", { class: "badge" }, "APP"),
      time,
    );
  const content = h(
    "div",
    { class: "content" },
    message.ephemeral && h("div", { class: "only-you" }, emoji("eyes"), "Only visible to you"),
    message.pinned && h("div", { class: "pinned" }, emoji("pushpin"), "Pinned to the channel"),
    heading,
    body(),
    message.edited && h("span", { class: "edited" }, " (edited)"),
    notice && h("p", { class: "notice", role: "alert", "data-testid": "notice" }, notice),
    summary(message, replies, options),
  );
  return h(
    "article",
    {
      class: ["message", compact && "compact", message.ephemeral && "ephemeral", message.pinned && "is-pinned"]
        .filter(Boolean)
        .join(" "),
      "data-testid": message.ephemeral ? "ephemeral" : "message",
      "data-ts": message.ts,
      "aria-label": `${author.name} at ${time.textContent}`,
    },
    h("div", { class: "gutter" }, compact ? time : avatar(author)),
    content,
  );

  function body() {
    const ctx = {
      world,
      confirm: (dialog) => confirmDialog(dialog, world),
      act: (action) => options.act(message, action),
    };
    const nodes = h("div", { class: "body" });
    if (message.blocks?.length) append(nodes, blocks(message.blocks, ctx));
    else if (message.text) nodes.append(append(h("div", { class: "text" }), mrkdwn(message.text, world)));
    append(
      nodes,
      (message.files ?? []).map((one) => attachedFile(one)),
    );
    return nodes;
  }
}

function attachedFile(file) {
  const address = file.url_private;
  const name = file.title || file.name || file.id;
  if ((file.mimetype ?? "").startsWith("image/")) {
    return h(
      "figure",
      { class: "file-image" },
      h("figcaption", {}, name),
      h(
        "a",
        { href: address, target: "_blank", rel: "noopener" },
        h("img", { src: address, alt: file.alt_txt ?? name, loading: "lazy" }),
      ),
    );
  }
  const details = [file.pretty_type ?? file.filetype, file.size && `${Math.max(1, Math.round(file.size / 1024))} kB`]
    .filter(Boolean)
    .join(" · ");
  return h(
    "a",
    { class: "file", href: address, target: "_blank", rel: "noopener", "data-testid": "file" },
    emoji("page_facing_up"),
    h("span", {}, h("strong", {}, name), details && h("small", {}, details)),
  );
}

function summary(message, replies, options) {
  const count = Math.max(replies.length, options.thread ? 0 : (message.reply_count ?? 0));
  if (!count) return null;
  const authors = new Map(replies.map((one) => authorOf(one, options.world)).map((author) => [author.key, author]));
  const latest = replies.at(-1);
  const node = h(
    "button",
    { type: "button", class: "thread-open", "data-testid": "thread-open", "data-ts": message.ts },
    [...authors.values()].slice(0, 4).map((author) => avatar(author, "tiny")),
    h("span", { class: "count" }, plural(count, "reply", "replies")),
    latest &&
      h("span", { class: "latest" }, `Last reply ${moment(Number(latest.ts), "{date_short_pretty} at {time}")}`),
  );
  node.addEventListener("click", () => options.openThread(message.ts));
  return node;
}
