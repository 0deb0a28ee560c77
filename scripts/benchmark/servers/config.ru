# For puma: answers `SLOT PID PATH`.
slot = ENV.fetch('FORKFRONT_SLOT', '-')
run(lambda do |env|
  body = "#{slot} #{Process.pid} #{env['PATH_INFO'][1..]}\n"
  [200, { 'content-type' => 'text/plain', 'content-length' => body.bytesize.to_s }, [body]]
end)
