%% SPDX-License-Identifier: Apache-2.0
%% @doc TLS of the whole server, with clients that nobody here wrote: curl, openssl, nghttp, and
%% Erlang's ssl where the handshake itself is looked at.
-module(tls_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, await_idle/0]).

-compile([export_all, nowarn_export_all]).

-define(PASSWORD, "geheim-42").

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config0) ->
    Config = hornbeam_case:init_quiet_suite(Config0),
    Dir = ?config(priv_dir, Config),
    {RootCert, _} = Root = tls_files:authority(Dir, "root"),
    Sub = tls_files:certificate(Dir, "sub", Root),
    {Cert, Key} = tls_files:certificate(Dir, "server", Root),
    [{dir, Dir}, {root, Root}, {sub, Sub}, {cert, Cert}, {key, Key}, {ca, RootCert} | Config].

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_options(Config) ->
    #{ssl => true, certfile => ?config(cert, Config), keyfile => ?config(key, Config)}.

do_start(Options) -> hornbeam_case:start("tls_app:application", Options).

%% Standard output of the command; it ends with the exit status.
do_run(Command) ->
    os:cmd(binary_to_list(iolist_to_binary(["timeout 20 ", Command, "; echo -n \" [$?]\""]))).

do_curl(Config, Arguments, Target) ->
    do_run(["curl -sS --cacert ", ?config(ca, Config), " ", Arguments, " '", Target, "' 2>&1"]).

do_url(Port, Path) -> ["https://localhost:", integer_to_list(Port), Path].

%% A handshake of Erlang's ssl: what was agreed, or the alert.
do_shake(Port, Options) ->
    Trusting = [{verify, verify_none}, {active, false}, {log_level, none} | Options],
    case ssl:connect({127, 0, 0, 1}, Port, Trusting, 10000) of
        {ok, Socket} -> do_settled(Socket);
        {error, {tls_alert, {Alert, _}}} -> Alert;
        {error, closed} -> closed
    end.

%% With TLS 1.3 the server's alert on a client's certificate comes after the handshake.
do_settled(Socket) ->
    Agreed = ssl:connection_information(Socket, [protocol, selected_cipher_suite]),
    Alpn = ssl:negotiated_protocol(Socket),
    _ = ssl:send(Socket, "GET /about HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    Outcome =
        case ssl:recv(Socket, 0, 10000) of
            {error, {tls_alert, {Alert, _}}} -> Alert;
            {error, closed} -> closed;
            {ok, _} -> do_agreement(Agreed, Alpn)
        end,
    ok = ssl:close(Socket),
    Outcome.

do_agreement({ok, [{protocol, Version}, {selected_cipher_suite, Suite}]}, Alpn) ->
    #{
        version => Version,
        suite => ssl:suite_to_openssl_str(Suite),
        alpn => element(2, Alpn)
    }.

%%% Serving

https(Config) ->
    doc("A verified certificate; HTTP/1.1 and HTTP/2 by ALPN; environ and info say https."),
    Port = do_start(do_options(Config)),
    Expected = "https HTTP/~s " ++ integer_to_list(Port) ++ " 127.0.0.1 [0]",
    ?assertEqual(lists:flatten(io_lib:format(Expected, ["1.1"])),
        do_curl(Config, "--http1.1", do_url(Port, "/about"))),
    ?assertEqual(lists:flatten(io_lib:format(Expected, ["2"])),
        do_curl(Config, "--http2", do_url(Port, "/about"))),
    ?assertMatch({match, _}, re:run(do_run(["nghttp ", do_url(Port, "/about")]), "https HTTP/2")),
    #{addresses := [Address]} = hornbeam:info(),
    ?assertEqual(iolist_to_binary(["https://127.0.0.1:", integer_to_list(Port)]), Address),
    await_idle().

https_to_asgi(Config) ->
    doc("The scope of an ASGI application says https, over HTTP/1.1 and HTTP/2."),
    Port = hornbeam_case:start("tls_app:asgi", (do_options(Config))#{worker_class => asgi}),
    Number = integer_to_list(Port),
    ?assertEqual("https 1.1 " ++ Number ++ " [0]",
        do_curl(Config, "--http1.1", do_url(Port, "/"))),
    ?assertEqual("https 2 " ++ Number ++ " [0]", do_curl(Config, "--http2", do_url(Port, "/"))),
    await_idle().

several_addresses(Config) ->
    doc("TLS on every address: IPv4, another port, IPv6, a Unix socket."),
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-tls-" ++ os:getpid()),
    Binds = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:0", "unix:" ++ Path],
    _ = do_start((do_options(Config))#{bind => Binds}),
    #{addresses := [_, _, Six, _] = Addresses} = hornbeam:info(),
    [?assertMatch({match, _}, re:run(do_curl(Config, "--insecure", [Address, "/about"]), "^https "))
        || <<"https", _/binary>> = Address <- Addresses],
    ?assertMatch(<<"https://[::1]:", _/binary>>, Six),
    ?assertMatch("https HTTP/1.1" ++ _,
        do_curl(Config, ["--http1.1 --unix-socket ", Path], "https://localhost/about")).

bodies(Config) ->
    doc("Bodies of any size in both directions, from memory, in pieces and out of a file, over "
        "HTTP/1.1 and HTTP/2; chunked uploads."),
    Port = do_start(do_options(Config)),
    Upload = filename:join(?config(dir, Config), "upload"),
    ok = file:write_file(Upload, binary:copy(<<"u">>, 3000000)),
    [
        begin
            Size = ["-o /dev/null -w '%{size_download}' ", Version],
            Get = fun(Path) -> do_curl(Config, Size, do_url(Port, Path)) end,
            ?assertEqual("100 [0]", Get("/letters?100")),
            ?assertEqual("3000000 [0]", Get("/letters?3000000")),
            ?assertEqual("3000000 [0]", Get("/pieces?300")),
            ?assertEqual("3000000 [0]", Get("/file?3000000")),
            Post = [Version, " --data-binary @", Upload],
            ?assertEqual("3000000 [0]", do_curl(Config, Post, do_url(Port, "/length"))),
            ?assertEqual("3000000 [0]",
                do_curl(Config, [Post, " -H 'transfer-encoding: chunked'"], do_url(Port,
                    "/length")))
        end
     || Version <- ["--http1.1", "--http2"]
    ],
    await_idle().

clear_text_on_the_port(Config) ->
    doc("Who speaks no TLS gets no answer, and the next one who does is served."),
    Port = do_start(do_options(Config)),
    ?assertNotMatch({200, _}, hornbeam_case:fetch(Port, "/about")),
    ?assertMatch("https" ++ _, do_curl(Config, "", do_url(Port, "/about"))).

%%% What is agreed

alpn_obeys_http_version(Config) ->
    doc("Only versions of HTTP that are switched on are agreed on; a client without ALPN where "
        "only HTTP/2 is spoken reads why it is refused."),
    H1 = <<"http/1.1">>,
    Table = [
        {['HTTP/1.1', 'HTTP/2'], [{[<<"h2">>, H1], <<"h2">>}, {[H1], H1},
            {none, protocol_not_negotiated}, {[<<"h3">>], no_application_protocol}]},
        {['HTTP/1.1'], [{[<<"h2">>, H1], H1}, {[<<"h2">>], no_application_protocol},
            {none, protocol_not_negotiated}]},
        {['HTTP/2'], [{[<<"h2">>, H1], <<"h2">>}, {[H1], no_application_protocol},
            {none, protocol_not_negotiated}]}
    ],
    [
        begin
            Port = do_start((do_options(Config))#{http_version => Versions}),
            [?assertEqual({Versions, Offer, Agreed}, {Versions, Offer, do_agreed(Port, Offer)})
                || {Offer, Agreed} <- Offers],
            ok = hornbeam:stop()
        end
     || {Versions, Offers} <- Table
    ],
    Port2 = do_start((do_options(Config))#{http_version => ['HTTP/2']}),
    ?assertMatch({match, _}, re:run(do_curl(Config, "-i --no-alpn", do_url(Port2, "/about")),
        "HTTP/1.1 505.*only HTTP/2 is spoken here", [dotall])).

do_agreed(Port, Offer) ->
    Options = [{alpn_advertised_protocols, Offer} || Offer =/= none],
    case do_shake(Port, Options) of
        #{alpn := Agreed} -> Agreed;
        Alert -> Alert
    end.

versions_and_ciphers(Config) ->
    doc("tls_min_version and ciphers decide what is agreed on; a version for which no suite is "
        "named keeps its own."),
    Strong = "ECDHE-ECDSA-AES256-GCM-SHA384",
    Weaker = "ECDHE-ECDSA-AES128-GCM-SHA256",
    Old = [{versions, ['tlsv1.2']}],
    Offer = fun(Name) -> [{ciphers, [ssl:str_to_suite(Name)]} | Old] end,
    Table = [
        {#{}, [{[], {'tlsv1.3', any}}, {Old, {'tlsv1.2', any}},
            {[{versions, ['tlsv1.1']}], protocol_version}]},
        {#{tls_min_version => 'tlsv1.3'}, [{[], {'tlsv1.3', any}}, {Old, protocol_version}]},
        {#{ciphers => [Strong]}, [{Old, {'tlsv1.2', Strong}}, {[], {'tlsv1.3', any}},
            {Offer(Weaker), insufficient_security}]},
        {#{ciphers => Weaker ++ ":" ++ Strong}, [{Old, {'tlsv1.2', Weaker}},
            {Offer(Strong), {'tlsv1.2', Strong}}]},
        {#{ciphers => "TLS_AES_128_GCM_SHA256"},
            [{[], {'tlsv1.3', "TLS_AES_128_GCM_SHA256"}}, {Old, {'tlsv1.2', any}}]}
    ],
    [
        begin
            Port = do_start(maps:merge(do_options(Config), Options)),
            [?assertMatch({true, _, _, _}, {do_fits(Expected, Got), Options, Expected, Got})
                || {Client, Expected} <- Clients, Got <- [do_shake(Port, Client)]],
            ok = hornbeam:stop()
        end
     || {Options, Clients} <- Table
    ].

do_fits({Version, any}, #{version := Version}) -> true;
do_fits({Version, Suite}, #{version := Version, suite := Suite}) -> true;
do_fits(Alert, Alert) -> true;
do_fits(_, _) -> false.

certificates_of_clients(Config) ->
    doc("verify: none asks for none, optional takes a good one or none, required refuses without."),
    Dir = ?config(dir, Config),
    Client = tls_files:certificate(Dir, "client", ?config(root, Config)),
    Foreign = tls_files:certificate(Dir, "foreign", tls_files:authority(Dir, "other")),
    With = fun({Cert, Key}) -> [{certfile, Cert}, {keyfile, Key}] end,
    Table = [
        {none, [{[], ok}, {With(Client), ok}, {With(Foreign), ok}]},
        {optional, [{[], ok}, {With(Client), ok}, {With(Foreign), refused}]},
        {required, [{[], refused}, {With(Client), ok}, {With(Foreign), refused}]}
    ],
    [
        begin
            Files = maps:from_list([{cacertfile, ?config(ca, Config)} || Verify =/= none]),
            Port = do_start(maps:merge((do_options(Config))#{verify => Verify}, Files)),
            [?assertEqual({Verify, Version, Options, Expected},
                {Verify, Version, Options, do_outcome(Port, [{versions, [Version]} | Options])})
                || {Options, Expected} <- Cases, Version <- ['tlsv1.2', 'tlsv1.3']],
            ok = hornbeam:stop()
        end
     || {Verify, Cases} <- Table
    ].

do_outcome(Port, Options) ->
    case do_shake(Port, Options) of
        #{} -> ok;
        %% With TLS 1.3 a client that writes at once may see the end before it reads the alert.
        Alert when is_atom(Alert) -> refused
    end.

%%% Files

kinds_of_keys(Config) ->
    doc("RSA, elliptic curves and Ed25519; in one file with the certificate; encrypted, as openssl "
        "does it today and as it did before."),
    Dir = ?config(dir, Config),
    {RsaCert, RsaKey} = Rsa = tls_files:self_signed(Dir, rsa),
    Both = filename:join(Dir, "both.pem"),
    {ok, Pems} = file:read_file(RsaCert),
    {ok, KeyPem} = file:read_file(RsaKey),
    ok = file:write_file(Both, [KeyPem, Pems]),
    Plain = [#{certfile => C, keyfile => K} || {C, K} <- [Rsa, tls_files:self_signed(Dir, ec),
        tls_files:self_signed(Dir, ed25519)]],
    Encrypted = [#{certfile => RsaCert, keyfile => tls_files:encrypt(RsaKey, ?PASSWORD, How),
        keyfile_password => ?PASSWORD} || How <- [pkcs8, traditional]],
    [
        begin
            Port = do_start(Files#{ssl => true}),
            ?assertMatch({_, #{version := 'tlsv1.3'}}, {Files, do_shake(Port, [])}),
            ok = hornbeam:stop()
        end
     || Files <- [#{certfile => Both} | Plain ++ Encrypted]
    ].

certificates_between(Config) ->
    doc("The whole of certfile is sent: a client that knows the root alone verifies it."),
    {SubCert, _} = Sub = ?config(sub, Config),
    {Cert, Key} = tls_files:certificate(?config(dir, Config), "leaf", Sub),
    Chain = Cert ++ ".chain",
    {ok, Leaf} = file:read_file(Cert),
    {ok, Between} = file:read_file(SubCert),
    ok = file:write_file(Chain, [Leaf, Between]),
    Port = do_start(#{ssl => true, certfile => Chain, keyfile => Key}),
    ?assertMatch("https" ++ _, do_curl(Config, "", do_url(Port, "/about"))).

files_that_are_wrong(Config) ->
    doc("Each fault of a file is an error that names the option and the file, and nothing is left "
        "running."),
    Dir = ?config(dir, Config),
    {Cert, Key, Nothing} = {?config(cert, Config), ?config(key, Config), Dir ++ "/nothing"},
    Text = filename:join(Dir, "text"),
    ok = file:write_file(Text, "certainly no certificate"),
    {_, Other} = tls_files:self_signed(Dir, ec),
    Encrypted = tls_files:encrypt(Key, ?PASSWORD, pkcs8),
    Good = do_options(Config),
    Table = [
        {certfile, Nothing, "no such file", Good#{certfile => Nothing}},
        {certfile, Dir, "directory", Good#{certfile => Dir}},
        {certfile, Text, "no certificate", Good#{certfile => Text}},
        {certfile, Key, "no certificate", Good#{certfile => Key}},
        {certfile, Cert, "no private key", maps:remove(keyfile, Good)},
        {keyfile, Nothing, "no such file", Good#{keyfile => Nothing}},
        {keyfile, Cert, "no private key", Good#{keyfile => Cert}},
        {keyfile, Other, "does not fit", Good#{keyfile => Other}},
        {keyfile, Encrypted, "set keyfile_password", Good#{keyfile => Encrypted}},
        {keyfile_password, Encrypted, "cannot be decrypted",
            Good#{keyfile => Encrypted, keyfile_password => "wrong"}},
        {keyfile_password, Key, "not encrypted", Good#{keyfile_password => ?PASSWORD}},
        {cacertfile, Nothing, "no such file", Good#{verify => required, cacertfile => Nothing}},
        {cacertfile, Text, "no certificate", Good#{verify => optional, cacertfile => Text}}
    ],
    [do_refused(Case) || Case <- Table].

do_refused({Option, File, What, Options}) ->
    {error, Reason} = hornbeam:start("tls_app:application", Options#{bind => 0,
        python => hornbeam_case:python(), pythonpath => [hornbeam_case:apps()]}),
    Sentence = iolist_to_binary(hornbeam:format_error(Reason)),
    [?assertMatch({_, {match, _}}, {Sentence, re:run(Sentence, ["\\Q", Part, "\\E"])})
        || Part <- [atom_to_list(Option), File, What]],
    ?assertEqual(nomatch, string:find(io_lib:format("~p ~ts", [Reason, Sentence]), ?PASSWORD)),
    ?assertEqual(#{status => stopped}, hornbeam:info()),
    ?assertEqual({#{}, []}, {ranch:info(), ets:tab2list(hornbeam_certificates)}).

secrets_stay(Config) ->
    doc("Neither password nor key is in the arguments or states of processes, which reports show."),
    Encrypted = tls_files:encrypt(?config(key, Config), ?PASSWORD, pkcs8),
    _ = do_start((do_options(Config))#{keyfile => Encrypted, keyfile_password => ?PASSWORD}),
    Listeners = hornbeam_listeners_sup:listeners(),
    Processes = [hornbeam_sup, hornbeam_listeners_sup, ranch_sup | Listeners],
    Shown = [
        [sys:get_status(P) || P <- Processes], ranch:info(),
        supervisor:get_childspec(hornbeam_listeners_sup, root)
    ],
    [{_, Loaded, _, _}] = ets:tab2list(hornbeam_certificates),
    {'PrivateKeyInfo', Der} = proplists:get_value(key, Loaded),
    All = term_to_binary(Shown),
    ?assertEqual(nomatch, binary:match(All, <<?PASSWORD>>)),
    ?assertEqual(nomatch, binary:match(All, Der)).

%%% New certificates

%% The name in the certificate that a new connection gets.
do_name(Port) ->
    Options = [{verify, verify_none}, {active, false}],
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, Port, Options, 10000),
    {ok, Der} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    {rdnSequence, Names} = do_subject(public_key:pkix_decode_cert(Der, otp)),
    [Name] = [V || [{'AttributeTypeAndValue', {2, 5, 4, 3}, V}] <- Names],
    case Name of
        {_, Text} -> unicode:characters_to_list(Text);
        _ -> Name
    end.

do_subject({'OTPCertificate', Signed, _, _}) -> element(7, Signed).

%% Served from files of its own, to be overwritten.
do_start_from(Config, Pair) ->
    Files = {filename:join(?config(dir, Config), "live.crt"), filename:join(?config(dir, Config),
        "live.key")},
    do_install(Pair, Files),
    {CertFile, KeyFile} = Files,
    {do_start(#{ssl => true, certfile => CertFile, keyfile => KeyFile}), Files}.

do_install({Cert, Key}, {CertFile, KeyFile}) ->
    {ok, _} = file:copy(Cert, CertFile),
    {ok, _} = file:copy(Key, KeyFile),
    ok.

reload_by_call(Config) ->
    doc("reload_certificates: new connections get the new certificate, open ones go on with the "
        "worker they had; broken files change nothing."),
    {Port, {CertFile, _} = Files} = do_start_from(Config, {?config(cert, Config), ?config(key,
        Config)}),
    {ok, Old} = ssl:connect({127, 0, 0, 1}, Port, [{verify, verify_none}, {active, false},
        binary], 10000),
    Pid = do_ask(Old),
    ?assertEqual("server", do_name(Port)),
    do_install(tls_files:self_signed(?config(dir, Config), ec), Files),
    ?assertEqual(ok, hornbeam:reload_certificates()),
    ?assertEqual("ec", do_name(Port)),
    ok = file:write_file(CertFile, "broken"),
    ?assertMatch({error, {bad_file, certfile, _, _}}, hornbeam:reload_certificates()),
    ?assertEqual("ec", do_name(Port)),
    ?assertEqual(Pid, do_ask(Old)).

do_ask(Socket) ->
    ok = ssl:send(Socket, "GET /pid HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    {ok, Bytes} = ssl:recv(Socket, 0, 10000),
    [Head, Body] = binary:split(Bytes, <<"\r\n\r\n">>),
    <<"HTTP/1.1 200", _/binary>> = Head,
    case Body of
        <<>> -> element(2, ssl:recv(Socket, 0, 10000));
        _ -> Body
    end.

reload_by_itself(Config) ->
    doc("Files that change are read without being told; while they do not fit, the old ones stay, "
        "and the log says so once."),
    Pair = {?config(cert, Config), ?config(key, Config)},
    {Port, {_, KeyFile} = Files} = do_start_from(Config, Pair),
    {ok, _} = file:copy(element(2, tls_files:self_signed(?config(dir, Config), rsa)), KeyFile),
    ok = do_listen_to_log(),
    Refused = receive {logged, Report} -> Report after 20000 -> error(timeout) end,
    ?assertMatch(#{what := certificates_reload_failed, reason := _}, Refused),
    ?assertMatch({match, _}, re:run(maps:get(reason, Refused), ["keyfile.*", KeyFile])),
    ?assertEqual("server", do_name(Port)),
    do_install(tls_files:self_signed(?config(dir, Config), ec), Files),
    Next = receive {logged, Report2} -> Report2 after 20000 -> error(timeout) end,
    ?assertMatch(#{what := certificates_reloaded}, Next),
    ok = do_stop_listening(),
    ?assertEqual("ec", do_name(Port)).

nothing_to_reload(_) ->
    doc("Without TLS, and without a server, there is nothing to reload."),
    ?assertEqual({error, no_tls}, hornbeam:reload_certificates()),
    _ = do_start(#{}),
    ?assertEqual({error, no_tls}, hornbeam:reload_certificates()).

%% The listener's log goes to this process.
do_listen_to_log() ->
    ok = logger:set_module_level(hornbeam_listener, notice),
    logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}).

do_stop_listening() ->
    ok = logger:unset_module_level(hornbeam_listener),
    logger:remove_handler(?MODULE).

%% Callback of logger.
log(#{msg := {report, #{what := _} = Report}, meta := #{mfa := {hornbeam_listener, _, _}}},
    #{config := #{to := To}}) ->
    To ! {logged, Report};
log(_, _) ->
    ok.
