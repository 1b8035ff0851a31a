// What a person chose or dropped, as files by path: folders are walked, so that equal names in two folders stay apart.

export const TEXTS = /\.(txt|caption|cap|json|jsonl|csv|tsv)$/i;

export function chosenFiles(list) {
  return new Map([...list].map((file) => [file.webkitRelativePath || file.name, file]));
}

// The browser forgets the entries as soon as the event is over: they are taken out before anything is awaited.
export function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? walked(entries) : Promise.resolve(chosenFiles(transfer.files));
}

// `unread` lists what was dropped and cannot be read, such as a file that was removed since.
async function walked(entries) {
  const found = new Map();
  found.unread = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\//, "");
  try {
    if (!entry.isFile) await walkFolder(entry, found);
    else found.set(path, await new Promise((resolve, reject) => entry.file(resolve, reject)));
  } catch {
    found.unread.push(path);
  }
}

async function walkFolder(entry, found) {
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}
