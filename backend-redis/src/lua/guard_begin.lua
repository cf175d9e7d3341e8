local function acquire()
