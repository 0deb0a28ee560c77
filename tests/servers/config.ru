# For puma.
slot = ENV.fetch('FORKFRONT_SLOT', '-')
run ->(env) { [200, { 'Content-Type' => 'text/plain' }, ["#{slot} #{Process.pid} #{env['PATH_INFO'][1..]}\n"]] }
