// Faces in the styles of nine artists, one JSON line each: [style, facts, SVG]. Needs DiceBear 9:
//   npm install @dicebear/core@9 @dicebear/collection@9
//   node generate.mjs 4000 | xz -9e > faces.jsonl.xz
import { createAvatar } from '@dicebear/core';
import * as collection from '@dicebear/collection';

const count = Number(process.argv[2]);
const BACKGROUND = '123456'; // replaced when a face is rendered
// The hair colours of pocket/faces/character.py, so that a caption's colour means the same in every style.
const HAIR = {
  black: '2b2730', brown: '7a4a28', blonde: 'efce63', red: 'd0342b', blue: '2f62cf',
  green: '3f9f4c', pink: 'f28ab4', purple: '7d3fae', white: 'eceaf2',
};
const hairColor = Object.values(HAIR);
const STYLES = {
  openPeeps: ['open peeps', { maskProbability: 0, headContrastColor: hairColor }],
  notionists: ['notionists', { bodyIconProbability: 0, gestureProbability: 0 }],
  bigEars: ['big ears', { hairColor }],
  bigSmile: ['big smile', { hairColor, accessoriesProbability: 15, accessories: ['glasses', 'sunglasses'] }],
  miniavs: ['miniavs', { hairColor }],
  personas: ['personas', { hairColor }],
  toonHead: ['toon head', { hairColor, beardProbability: 10 }],
  croodles: ['croodles doodle', { topColor: hairColor }],
  dylan: ['dylan', { hairColor, facialHairProbability: 8 }],
};
const MOUTHS = [
  ['smiling', /smile|happy|laugh|grin|LOL|lovingGrin/i, /sad|awkward|super/i],
  ['sad', /sad|frown|concern|tired/i],
  ['surprised', /surpris|agape|awe|openSad/i],
  ['neutral', /blank|neutral|calm|serious|unimpressed|solemn/i],
];

const rgb = (hex) => [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16));

function nearestColor(color) {
  const wanted = rgb(color.replace('#', ''));
  const distance = ([, hex]) => rgb(hex).reduce((sum, value, i) => sum + (value - wanted[i]) ** 2, 0);
  return Object.entries(HAIR).reduce((best, next) => (distance(next) < distance(best) ? next : best))[0];
}

// What a caption may say of the face, read from the options that the style chose.
function factsOf(style, extra) {
  const facts = [];
  const color = extra.hairColor || extra.headContrastColor || extra.topColor;
  const bald = /bald|noHair|shaved|mrClean|balndess/i.test(String(extra.hair || extra.head || extra.top || ''));
  const covered = /hat|hijab|bear|gray|noHair|shaved|turban/i.test(extra.head);
  if (style === 'openPeeps' ? !covered : color && !bald) facts.push(`${nearestColor(color)} hair`);
  const hair = String(extra.hair || extra.head || extra.rearHair || '');
  if (/long|extraLong/i.test(hair)) facts.push('long hair');
  else if (/short|buzz|pixie/i.test(hair)) facts.push('short hair');
  const mouth = String(extra.mouth || extra.face || extra.mood || '');
  const expression = MOUTHS.find(([, yes, no]) => yes.test(mouth) && !(no && no.test(mouth)));
  if (expression) facts.push(expression[0]);
  if (extra.glasses || /glasses/.test(extra.accessories || '') || /glasses/i.test(extra.eyes || '')) facts.push('glasses');
  if (extra.beard || extra.facialHair || extra.mustache) facts.push('beard');
  return facts;
}

for (const [style, [word, options]] of Object.entries(STYLES)) {
  for (let i = 0; i < count; i++) {
    const avatar = createAvatar(collection[style], { seed: style + i, backgroundColor: [BACKGROUND], ...options }).toJson();
    const svg = avatar.svg.replace(/<metadata[\s\S]*?<\/metadata>/, '');
    console.log(JSON.stringify([word, factsOf(style, avatar.extra), svg]));
  }
}
