# TCPServer with a thread for each connection: who asks. HOST and PORT from the environment.
require 'socket'

server = TCPServer.new(ENV.fetch('HOST'), Integer(ENV.fetch('PORT')))
loop do
  Thread.new(server.accept) do |client|
    while (line = client.gets)
      next unless line.strip.empty?

      body = "#{client.remote_address.ip_address} #{client.peeraddr(false)[1]}\n"
      client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}"
    end
  rescue SystemCallError
    # the client has gone
  ensure
    client.close
  end
end
