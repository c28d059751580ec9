// A picture of a node's page, taken when it shows a status: node screenshot.mjs URL FILE.
import {chromium} from 'playwright-core';

const [url, file] = process.argv.slice(2);
const browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox']});
try {
  const page = await browser.newPage({viewport: {width: 1200, height: 900}});
  await page.goto(url);
  await page.waitForSelector('[data-status-time]:not([data-status-time=""])', {state: 'attached', timeout: 15000});
  await page.waitForTimeout(3000);  // the charts need a second status
  await page.screenshot({path: file, fullPage: true});
  const failover = page.locator('li.failover').first();
  const newest = await failover.count() ? (await failover.innerText()).replace(/\s+/g, ' ') : 'none yet';
  console.log(`${url} is in ${file}; the newest failover on it: ${newest}`);
} catch (error) {
  console.error(`cannot take a picture of ${url}: ${error.message.split('\n')[0]}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
