// Building DOM nodes. Text from outside only ever becomes a text node or an attribute value, never markup.

/**
 * Create an element. `props` holds attributes (`true` sets an empty one, `false`/`null`/`undefined` leave it out);
 * `on` maps event names to listeners. Children are nodes, strings (text nodes), arrays, or empty values to skip.
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (/^on/i.test(name)) {
      throw new Error(`h(): listeners go under "on", not into the attribute ${name}`);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  append(node, children);
  return node;
}

/** Append nodes and strings (nested arrays allowed); empty values are skipped. */
export function append(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child);
  }
  return node;
}

const signatures = new WeakMap();

/**
 * Make the children of `list` match `items` and rebuild only what changed, so that focus, open menus and the scroll
 * position survive an update. `items` are `{key, signature, build}`; a node is kept while its signature is the same.
 */
export function reconcile(list, items) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let cursor = list.firstElementChild;
  for (const item of items) {
    let node = old.get(item.key);
    old.delete(item.key);
    if (!node || signatures.get(node) !== item.signature) {
      const fresh = item.build();
      fresh.dataset.key = item.key;
      signatures.set(fresh, item.signature);
      if (node) {
        const focus = focusHandle(node);
        if (cursor === node) cursor = fresh;
        node.replaceWith(fresh);
        restoreFocus(fresh, focus);
      }
      node = fresh;
    }
    if (cursor === node) cursor = node.nextElementSibling;
    else list.insertBefore(node, cursor);
  }
  for (const node of old.values()) node.remove();
}

function focusHandle(node) {
  const active = document.activeElement;
  if (!active || !node.contains(active) || !active.dataset.testid) return null;
  return { testid: active.dataset.testid, value: active.dataset.value };
}

function restoreFocus(node, handle) {
  if (!handle) return;
  for (const candidate of node.querySelectorAll("[data-testid]")) {
    if (candidate.dataset.testid === handle.testid && candidate.dataset.value === handle.value) {
      candidate.focus({ preventScroll: true });
      return;
    }
  }
}

const SAFE_LINK = /^(https?:\/\/|mailto:)/i;

/** A link to an outside address, or `null` when its scheme is not one that is safe to follow. */
export function link(url, ...children) {
  if (!SAFE_LINK.test(url)) return null;
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, children);
}
