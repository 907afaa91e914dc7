// What the page knows: the state of the workspace as one person sees it, and how each event changes it. No DOM here.

/** Ephemeral messages from before the page was opened are gone, as in Slack; this is the newest ts of that time. */
let openedAt = null;

export class World {
  constructor() {
    this.team = null;
    this.me = null;
    this.people = new Map();
    this.bot = null;
    this.channels = [];
    this.groups = new Map();
    this.messages = new Map(); // channel id -> Map(ts -> message)
    this.views = []; // open views of the acting person, the topmost last
    this.botOnline = false;
    this.notices = new Map(); // ts or view id -> sentence about a click that failed
  }

  /** Take over an answer of GET state. Messages that exist only in this page (answers of Slackbot) stay. */
  load(state) {
    const local = [...this.messages].flatMap(([channel, all]) =>
      [...all.values()].filter((one) => one.local).map((one) => [channel, one]),
    );
    this.team = state.team;
    this.me = state.me.id;
    this.people = new Map(state.people.map((person) => [person.id, person]));
    this.bot = state.bot;
    this.channels = state.channels;
    this.groups = new Map(state.groups.map((group) => [group.id, group.handle]));
    this.views = state.views;
    this.botOnline = state.bot_online;
    this.messages = new Map();
    const all = Object.entries(state.messages).flatMap(([channel, list]) => list.map((one) => [channel, one]));
    openedAt ??= all.reduce((newest, [, one]) => (one.ts > newest ? one.ts : newest), "0");
    for (const [channel, one] of all) {
      if (!one.ephemeral || one.ts > openedAt) this.put(channel, one);
    }
    for (const [channel, one] of local) {
      if (one.only === this.me) this.put(channel, one);
    }
  }

  /** Apply one event of the stream; returns the message it brought, if it is a new one. */
  apply(event) {
    const { channel, message, view } = event;
    switch (event.type) {
      case "message":
      case "ephemeral": {
        const fresh = !this.messages.get(channel)?.has(message.ts);
        this.put(channel, event.type === "ephemeral" ? { ...message, ephemeral: true } : message);
        return fresh ? message : null;
      }
      case "message_changed":
        this.put(channel, message);
        return null;
      case "message_deleted":
        this.messages.get(channel)?.delete(event.ts);
        return null;
      case "view_opened":
        this.views = [...this.views.filter((one) => one.id !== view.id), view];
        return null;
      case "view_closed":
        this.views = this.views.filter((one) => one.id !== event.view_id);
        return null;
      case "bot_online":
        this.botOnline = event.online;
        return null;
      default:
        return null;
    }
  }

  put(channel, message) {
    if (!this.messages.has(channel)) this.messages.set(channel, new Map());
    this.messages.get(channel).set(message.ts, message);
  }

  /** Messages of a channel, oldest first: the ones at top level, or those of one thread with its parent. */
  listed(channel, threadTs = null) {
    const all = [...(this.messages.get(channel)?.values() ?? [])].sort((a, b) => (a.ts < b.ts ? -1 : 1));
    if (threadTs) return all.filter((one) => one.ts === threadTs || one.thread_ts === threadTs);
    return all.filter((one) => !one.thread_ts || one.thread_ts === one.ts);
  }

  replies(channel, ts) {
    return this.listed(channel, ts).filter((one) => one.ts !== ts && !one.ephemeral);
  }

  /** Add an answer of Slackbot that only the acting person sees, e.g. about a command that failed. */
  tell(channel, text, threadTs) {
    const ts = (Date.now() / 1000).toFixed(6);
    this.put(channel, {
      ts,
      thread_ts: threadTs,
      user: "USLACKBOT",
      username: "Slackbot",
      text,
      ephemeral: true,
      local: true,
      only: this.me,
    });
  }

  channelName(id) {
    return this.channels.find((channel) => channel.id === id)?.name;
  }

  /** The name of a person or of the bot. */
  nameOf(id) {
    return id === this.bot?.id ? this.bot.name : this.people.get(id)?.name;
  }

  groupName(id) {
    return this.groups.get(id);
  }

  /** Where the picture of a `slack_file` object is served. */
  fileUrl(file) {
    return `/files-pri/${this.team.id}-${encodeURIComponent(file.id)}/image`;
  }
}
