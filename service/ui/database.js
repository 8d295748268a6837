// IndexedDB as promises: conversations, and their messages one by one so that two tabs do not overwrite each other.
const NAME = "headwater";
const VERSION = 1;

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, VERSION);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("conversations", { keyPath: "id" });
      asked.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

/** Does `work(transaction)` and gives its request's result once everything is written. */
async function transact(stores, mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(stores, mode);
    const asked = work(transaction);
    transaction.oncomplete = () => resolve(asked?.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

export const all = (store) => transact([store], "readonly", (at) => at.objectStore(store).getAll());
export const get = (store, id) => transact([store], "readonly", (at) => at.objectStore(store).get(id));

/** Writes a message down as it is now, unless it was taken away since, by another tab for one. */
export function replaceMessage(message) {
  return transact(["messages"], "readwrite", (at) => {
    const store = at.objectStore("messages");
    const found = store.getKey(message.id);
    found.onsuccess = () => found.result !== undefined && store.put(message);
  });
}

export function messagesOf(conversation) {
  return transact(["messages"], "readonly", (at) => at.objectStore("messages").index("conversation").getAll(conversation));
}

export function putAll(conversations, messages) {
  return transact(["conversations", "messages"], "readwrite", (at) => {
    for (const one of conversations) at.objectStore("conversations").put(one);
    for (const one of messages) at.objectStore("messages").put(one);
  });
}

export function removeMessages(ids) {
  return transact(["messages"], "readwrite", (at) => {
    for (const id of ids) at.objectStore("messages").delete(id);
  });
}

export async function removeConversation(id) {
  const messages = await messagesOf(id);
  return transact(["conversations", "messages"], "readwrite", (at) => {
    at.objectStore("conversations").delete(id);
    for (const message of messages) at.objectStore("messages").delete(message.id);
  });
}
