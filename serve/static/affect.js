// The valence-arousal plane, as the service defines it (msr_utils/affect.py).

const { quadrants, axis_ends: axisEnds } = JSON.parse(document.body.dataset.affect);

/** The four quadrants, each with its name, its signs of [valence, arousal], and its words. */
export const QUADRANTS = quadrants;

/** For each dimension, the words for -1 and for 1. */
export const AXIS_ENDS = axisEnds;

/** The words of an answer's quadrant. Silence has none. */
export const feeling = ({ quadrant }) => quadrant?.words ?? "nothing to hear";

/** The quadrant of a point. */
export const quadrantOf = ({ valence, arousal }) =>
  QUADRANTS.find(({ signs }) => signs[0] > 0 === valence >= 0 && signs[1] > 0 === arousal >= 0);
