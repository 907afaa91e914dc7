// The page: reads the state, follows the events, and draws channel, thread, modal and switches.
import * as api from "./api.js";
import { Composer } from "./composer.js";
import { h, reconcile } from "./dom.js";
import { FaultsPanel } from "./faults.js";
import { avatar, drawMessages } from "./messages.js";
import { Modals } from "./modals.js";
import { World } from "./store.js";

const FIRST_PERSON = "U0RITA0001"; // the release manager, who starts releases
const FIRST_CHANNEL = "releases";
const AT_BOTTOM = 60; // px from the end that still count as reading the newest message

const get = (id) => document.getElementById(id);
const world = new World();
const page = {
  user: new URLSearchParams(location.search).get("as") ?? sessionStorage.getItem("as") ?? FIRST_PERSON,
  channel: null,
  thread: null, // ts of the parent that is open on the right
  unread: new Set(), // channels with news
  connected: false,
  stream: null,
};
const faults = new FaultsPanel(get("fault-list"), get("fault-count"));
const modals = new Modals(world, { changed: draw });

// What a person does

/** Send a click on a button of a message and show a refusal there. */
async function click(channel, ts, action) {
  world.notices.delete(ts);
  try {
    const answer = await api.click({ user: page.user, channel, ts, ...action });
    if (answer.error) world.notices.set(ts, api.explain(answer.error));
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    world.notices.set(ts, error.message);
  }
  draw();
}

/** Send what was typed: a slash command or a message. False puts the text back into the line. */
async function send(text, threadTs = null) {
  const channel = page.channel;
  try {
    if (!text.startsWith("/")) {
      await api.message(page.user, channel, text, threadTs);
    } else if (threadTs) {
      world.tell(channel, `\`${text.split(/\s/)[0]}\` is not supported in threads. Sorry!`, threadTs);
      draw();
      return false;
    } else {
      await api.command(page.user, channel, text);
    }
    return true;
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    world.tell(channel, error.message.replaceAll("&", "&amp;").replaceAll("<", "&lt;"), threadTs);
    draw();
    return false;
  }
}

function actAs(user) {
  if (user === page.user) return;
  page.user = user;
  sessionStorage.setItem("as", user);
  world.notices.clear();
  follow();
}

function openChannel(id) {
  page.channel = id;
  page.unread.delete(id);
  openThread(null);
  toEnd(get("messages"));
}

function openThread(ts) {
  page.thread = ts;
  if (ts) showPane("thread");
  draw();
  if (ts) {
    toEnd(get("thread-messages"));
    get("thread").querySelector("textarea").focus();
  }
}

/** On a narrow page, thread and switches share the right side: opening one puts the other away. */
function showPane(name) {
  const roomy = matchMedia("(min-width: 1500px)").matches;
  if (name === "thread" && !roomy) get("faults").hidden = true;
  if (name === "faults" && !roomy) page.thread = null;
  if (name === "faults") get("faults").hidden = false;
  get("faults-toggle").setAttribute("aria-expanded", String(!get("faults").hidden));
}

// What happens elsewhere

/** Follow the workspace as the acting person; every (re)connection starts from the whole state. */
function follow() {
  page.stream?.stop();
  const user = page.user;
  let waiting = []; // events that came while the state was on its way
  let retry;
  const load = async () => {
    waiting ??= [];
    clearTimeout(retry);
    try {
      const state = await api.state(user);
      if (user !== page.user) return;
      world.load(state);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      retry = setTimeout(load, 1000);
      return;
    }
    const missed = waiting ?? [];
    waiting = null;
    page.connected = true;
    missed.forEach(take);
    const isNew = !page.channel || !world.channels.some((channel) => channel.id === page.channel);
    if (isNew) page.channel = (world.channels.find((one) => one.name === FIRST_CHANNEL) ?? world.channels[0])?.id;
    if (page.thread && !world.listed(page.channel, page.thread).length) page.thread = null;
    draw();
    if (isNew) toEnd(get("messages"));
    faults.load();
  };
  page.stream = api.follow(user, {
    onOpen: load,
    onEvent: (event) => (waiting ? waiting.push(event) : take(event)),
    onLost: () => {
      waiting ??= [];
      page.connected = false;
      drawStatus();
    },
  });
}

let drawing = false;

function take(event) {
  if (event.type === "faults") {
    faults.load();
    return;
  }
  const fresh = world.apply(event);
  if (fresh && event.channel !== page.channel) page.unread.add(event.channel);
  if (fresh && event.channel === page.channel && fresh.user !== world.me) announce(fresh);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

/** Say a new message to a screen reader; the list itself is redrawn too often to be a live region. */
function announce(message) {
  get("live").textContent = `${message.username ?? "Somebody"}: ${message.text}`;
}

// Drawing

function draw() {
  if (!world.me || !page.channel) return;
  drawStatus();
  drawSidebar();
  drawChannel();
  drawThread();
  modals.draw();
}

function drawStatus() {
  const status = get("bot-status");
  const online = world.botOnline && page.connected;
  status.dataset.online = String(online);
  get("bot-status-text").textContent = page.connected ? (world.botOnline ? "online" : "offline") : "unknown";
  get("offline").hidden = !page.connected || world.botOnline;
  get("reconnecting").hidden = page.connected;
}

function drawSidebar() {
  get("team").textContent = world.team.name;
  const names = { true: "direct", false: "channel" };
  reconcile(
    get("channels"),
    world.channels.map((channel) => {
      const here = channel.id === page.channel;
      const unread = page.unread.has(channel.id);
      return {
        key: channel.id,
        signature: JSON.stringify([channel, here, unread]),
        build: () => {
          const name = channel.direct ? world.bot.name : channel.name;
          const button = h(
            "button",
            {
              type: "button",
              class: unread ? "unread" : null,
              "aria-current": here ? "true" : null,
              "data-testid": `channel-${channel.name}`,
            },
            h("span", { class: `sign ${names[channel.direct]}`, "aria-hidden": "true" }, channel.direct ? "@" : "#"),
            h("span", { class: "name" }, name),
          );
          button.addEventListener("click", () => openChannel(channel.id));
          return h("li", {}, button);
        },
      };
    }),
  );
  reconcile(
    get("people"),
    [...world.people.values()].map((person) => ({
      key: person.id,
      signature: JSON.stringify([person, person.id === world.me]),
      build: () => personRow(person),
    })),
  );
  drawActingPerson();
}

function personRow(person) {
  const mine = person.id === world.me;
  const button = h(
    "button",
    {
      type: "button",
      "aria-pressed": String(mine),
      title: `Act as ${person.name}`,
      "data-testid": `person-${person.id}`,
    },
    avatar({ ...person, kind: "person", color: person.avatar_color }, "small"),
    h("span", { class: "name" }, person.name),
    h("span", { class: "role" }, person.title),
  );
  button.addEventListener("click", () => actAs(person.id));
  return h("li", {}, button);
}

function drawActingPerson() {
  const person = world.people.get(world.me);
  const select = get("act-as");
  if (select.options.length !== world.people.size) {
    select.replaceChildren(
      ...[...world.people.values()].map((one) => h("option", { value: one.id }, `${one.name} · ${one.title}`)),
    );
  }
  select.value = page.user;
  get("act-as-avatar").replaceChildren(avatar({ ...person, kind: "person", color: person.avatar_color }, "small"));
  const place = world.channels.find((channel) => channel.id === page.channel);
  const line = get("composer");
  line.placeholder = `Message ${place.direct ? world.bot.name : `#${place.name}`} as ${person.name}, or type /release`;
  line.setAttribute("aria-label", line.placeholder);
  get("thread-composer").placeholder = `Reply as ${person.name}`;
}

function drawChannel() {
  const channel = world.channels.find((one) => one.id === page.channel);
  get("channel-name").textContent = channel.direct ? world.bot.name : `# ${channel.name}`;
  const messages = world.listed(channel.id);
  get("empty").hidden = messages.length > 0;
  keepingEnd(get("messages"), () => drawMessages(get("message-list"), messages, drawingOptions(channel.id)));
}

function drawThread() {
  const messages = page.thread ? world.listed(page.channel, page.thread) : [];
  const open = messages.length > 0;
  get("thread").hidden = !open;
  if (!open) {
    get("thread-list").replaceChildren();
    return;
  }
  get("thread-channel").textContent = get("channel-name").textContent;
  keepingEnd(get("thread-messages"), () =>
    drawMessages(get("thread-list"), messages, { ...drawingOptions(page.channel), thread: true }),
  );
}

function drawingOptions(channel) {
  return {
    world,
    channel,
    openThread,
    act: (message, action) => click(channel, message.ts, action),
  };
}

/** Draw, and stay at the newest message when it was in view before. */
function keepingEnd(box, drawIt) {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < AT_BOTTOM;
  drawIt();
  if (atEnd) toEnd(box);
}

function toEnd(box) {
  box.scrollTop = box.scrollHeight;
}

// Start

new Composer(get("composer-form"), (text) => send(text), { hints: get("hints") });
new Composer(get("thread-form"), (text) => send(text, page.thread));
get("act-as").addEventListener("change", (event) => actAs(event.target.value));
get("thread-close").addEventListener("click", () => openThread(null));
get("faults-toggle").addEventListener("click", () => {
  if (get("faults").hidden) showPane("faults");
  else {
    get("faults").hidden = true;
    showPane("none");
  }
  draw();
});
get("faults-close").addEventListener("click", () => {
  get("faults").hidden = true;
  showPane("none");
  get("faults-toggle").focus();
});
// Pictures that load late must not push the newest message out of view.
for (const box of [get("messages"), get("thread-messages")]) {
  box.addEventListener(
    "load",
    () => box.scrollHeight - box.scrollTop - box.clientHeight < AT_BOTTOM + 400 && toEnd(box),
    true,
  );
}
follow();
