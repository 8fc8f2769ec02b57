#!/usr/bin/env node
import { start } from './start.mjs';

start('ccc', process.argv.slice(2));
