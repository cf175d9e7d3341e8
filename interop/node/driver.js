// Locks of JavaScript libraries: driver.js CLIENT URL, then a verb and the name of a lock in each line.
//
// Answers yes or no, done where the library does not say, none where it cannot, or an error.

const readline = require('node:readline')
const { Redis } = require('ioredis')

const LIFE = 60000

const clients = {
  'redis-semaphore': redis => {
    const { Mutex } = require('redis-semaphore')
    const options = { lockTimeout: LIFE, refreshInterval: 0, acquireAttemptsLimit: 1 }
    return {
      make: name => new Mutex(redis, name, options),
      acquire: lock => lock.tryAcquire(),
      release: async lock => {
        await lock.release()
        return 'done'
      },
      extend: async () => 'none',
      owned: async () => 'none'
    }
  },
  'node-redlock': redis => {
    const Redlock = require('redlock')
    const redlock = new Redlock([redis], { retryCount: 0 })
    const unlessRefused = async action => {
      try {
        return await action()
      } catch (error) {
        if (error.name === 'LockError') return false
        throw error
      }
    }
    return {
      make: name => ({ name, lock: null }),
      acquire: handle =>
        unlessRefused(async () => {
          handle.lock = await redlock.lock(handle.name, LIFE)
          return true
        }),
      release: handle =>
        unlessRefused(async () => {
          await handle.lock.unlock()
          return true
        }),
      extend: handle =>
        unlessRefused(async () => {
          handle.lock = await handle.lock.extend(LIFE)
          return true
        }),
      owned: async () => 'none'
    }
  }
}

// As those do that ask again and again; none of them is told when a lock becomes free.
async function wait(client, lock) {
  for (const until = Date.now() + 10000; Date.now() < until; ) {
    if (await client.acquire(lock)) return true
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return false
}

async function main() {
  const [name, url] = process.argv.slice(2)
  const client = clients[name](new Redis(url))
  const locks = new Map()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, key] = line.split(' ')
    try {
      if (!locks.has(key)) locks.set(key, client.make(key))
      const lock = locks.get(key)
      const answer = verb === 'wait' ? await wait(client, lock) : await client[verb](lock)
      console.log(answer === true ? 'yes' : answer === false ? 'no' : answer)
    } catch (error) {
      console.log(`error ${error}`.replaceAll('\n', ' '))
    }
  }
  process.exit()
}

main()
