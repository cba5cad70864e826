// The report: everything is in the page itself, compressed.

import { App, theme } from "lamarck/app";
import { byId, say } from "lamarck/dom";

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

try {
  const { description, reports, retired, members, words } = await unpacked(byId("data").textContent);
  const app = new App(description);
  theme(() => app.repaint());
  app.add(reports);
  app.model.retire(retired);
  app.words(words);
  app.refresh();
  app.members.states(members);
} catch (error) {
  byId("notice").hidden = false;
  say(byId("notice"), `This report could not be shown: ${error.message}`);
  throw error;
}
