// The control API of the workspace: one function a route, and the stream of events.

/** A call that the server refused or that never got there; `message` is a sentence for people. */
export class Refused extends Error {}

const SILENCE = {
  dispatch_failed: "Release Bot is not connected, so nobody received this (dispatch_failed).",
  operation_timeout: "Release Bot did not answer within three seconds (operation_timeout).",
};

/** The sentence that tells a person what an error code of a delivery means. */
export function explain(code) {
  return SILENCE[code] ?? `That did not work (${code}).`;
}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(`sandbox/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (cause) {
    throw new Refused("The sandbox does not answer. Is it still running?", { cause });
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch (cause) {
    throw new Refused(`The sandbox answered ${response.status} without JSON.`, { cause });
  }
  if (!response.ok) throw new Refused(`The sandbox answered ${response.status}: ${answer.error ?? "no reason given"}`);
  return answer;
}

const as = (user) => `user=${encodeURIComponent(user)}`;

export const state = (user) => call("GET", `state?${as(user)}`);
export const command = (user, channel, text) => call("POST", "command", { user, channel, text });
export const message = (user, channel, text, threadTs) =>
  call("POST", "message", { user, channel, text, ...(threadTs ? { thread_ts: threadTs } : {}) });
export const click = (body) => call("POST", "click", body);
export const submit = (user, viewId, values) => call("POST", "submit", { user, view_id: viewId, values });
export const close = (user, viewId) => call("POST", "close", { user, view_id: viewId });
export const faults = () => call("GET", "faults");
export const setFault = (name, on) => call("PUT", `faults/${encodeURIComponent(name)}`, { on });

const RETRY_MS = 1000;

/**
 * Follow the events of one person until `stop()` is called. `onOpen` runs at every (re)connection, `onLost` each time
 * the stream breaks; it is opened again a second later, whatever broke it.
 */
export function follow(user, { onOpen, onEvent, onLost }) {
  let source;
  let timer;
  const connect = () => {
    source = new EventSource(`sandbox/events?${as(user)}`);
    source.addEventListener("open", onOpen);
    source.addEventListener("message", (event) => onEvent(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      source.close();
      timer = setTimeout(connect, RETRY_MS);
      onLost();
    });
  };
  connect();
  return {
    stop() {
      clearTimeout(timer);
      source.close();
    },
  };
}
