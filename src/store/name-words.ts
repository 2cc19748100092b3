/** Words for the names of containers that were given none: how somebody was, and scientists and engineers. */

export const ADJECTIVES = (
  'accurate agile ample amused ardent artful astute attentive balanced bold bright brisk buoyant calm candid careful ' +
  'cheerful civil clear clever composed constant cordial crisp curious daring deft devoted diligent discreet earnest ' +
  'easygoing exact fair fearless fluent frank friendly frugal generous gentle glad graceful grateful handy hardy ' +
  'helpful honest humble ingenious inventive jolly judicious keen kind lively lucid merry methodical mindful modest ' +
  'neat nimble observant open orderly patient peaceful persistent playful poised polite precise prompt prudent quick ' +
  'quiet rational ready reliable sensible serene sincere skilled sober spirited steady subtle sunny tactful tenacious ' +
  'thorough tidy tireless tranquil upbeat upright vigilant vivid warm watchful witty'
).split(' ');

export const SURNAMES = (
  'abel aryabhata avogadro babbage banneker bardeen bassi becquerel bell berners bernoulli berzelius bessemer bohr ' +
  'boltzmann boole born bose boyle brahe brahmagupta brunel burnell cannon cantor carnot carson carver cauchy cavendish ' +
  'cerf chandra chatelet church clausius codd copernicus coulomb cray curie dalton darwin davy descartes diesel diffie ' +
  'dijkstra dirac edison eiffel einstein elion engelbart erdos euclid euler faraday fermat fermi feynman fibonacci ' +
  'fleming fourier franklin fresnel galileo galois galvani gauss germain gibbs goddard godel goodall hahn halley ' +
  'hamilton hamming harvey heisenberg helmholtz henry hero herschel hertz hilbert hodgkin hooke hopper hubble huffman ' +
  'huygens hypatia jacobi jemison johnson joule kahn kelvin kepler khayyam khwarizmi kilby kirchhoff knuth kolmogorov ' +
  'kovalevskaya lagrange lamarr laplace lavoisier leavitt leibniz linnaeus lise liskov lorentz lovelace maathai mach ' +
  'marconi maxwell mayer mccarthy mcclintock meitner mendel mendeleev mirzakhani moser napier nash neumann newton ' +
  'noether nobel ohm oppenheimer otto papin pascal pasteur pauli pavlov perlman planck poincare poisson ptolemy ' +
  'pythagoras raman ramanujan ramon ride riemann ritchie roentgen rubin rutherford sagan sammet schrodinger shannon ' +
  'siemens somerville stephenson strutt tesla thales thompson torvalds townes tsiolkovsky turing volta wallace watt ' +
  'weber wegener wiles wilkes wing wirth wozniak wright yalow yonath zeno zuse'
).split(' ');
