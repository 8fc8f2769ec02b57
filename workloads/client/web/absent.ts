/**
 * Stands in the page's bundle for every built-in module of Node. Packages that serve both worlds ask for some of them inside
 * try blocks; whoever asks elsewhere must fail loudly, not get half a module.
 */
throw new Error('a built-in module of Node was reached in the browser');
export {};
