// What forms of filters say about tracks, for searches and for scenes.

import { attempt, query } from "./library-api.js";

/** The filters of a form, as the API has them in an address. Fields that it lacks are left out. */
export function filtersOf(form) {
  const field = (name) => form.elements[name]?.value.trim() ?? "";
  const minutes = (name) => (field(name) ? Number(field(name)) * 60 : "");
  return {
    genre: field("genre"),
    artist: field("artist"),
    year_from: field("year_from"),
    year_to: field("year_to"),
    seconds_from: minutes("shortest"),
    seconds_to: minutes("longest"),
    certainty: Number(field("certainty")) || "",
  };
}

/** The same in a body. */
export const bodyFiltersOf = (form) =>
  Object.fromEntries(
    Object.entries(filtersOf(form))
      .filter(([, value]) => value !== "")
      .map(([name, value]) => [name, name === "genre" || name === "artist" ? [value] : Number(value)]),
  );

/** What each filter removed, in sentences. */
export const removedText = (removed) => removed.map(({ filter, tracks }) => `The filter ${filter} removed ${tracks}.`);

/** Show the least certainty beside its slider. */
export function showCertainty(form) {
  const share = Number(form.elements.certainty.value);
  form.elements["certainty-shown"].value = share ? `${Math.round(100 * share)} %` : "any";
}

/** Suggest names of the library while a genre or an artist is typed. */
export function suggestNames(form) {
  for (const [name, id] of [["genre", "genres"], ["artist", "artists"]]) {
    form.elements[name].addEventListener("input", async ({ target }) => {
      const { names } = (await attempt(() => query("/names", { query: { kind: name, part: target.value.trim() } }))) ?? { names: [] };
      document.getElementById(id).replaceChildren(...names.map((text) => new Option(text, text)));
    });
  }
}
